//! The page about images names every format, and says of each what is done with it.

use std::path::Path;

use djr_image::Format;

#[test]
fn the_page_lists_what_the_code_reads() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/IMAGES.md");
    let page = std::fs::read_to_string(page).unwrap();
    let listed: Vec<(String, String)> = page
        .lines()
        .skip_while(|line| !line.starts_with("| format |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            (
                cells.next().unwrap().to_owned(),
                cells.next().unwrap().to_owned(),
            )
        })
        .collect();
    let known: Vec<(String, String)> = Format::ALL
        .iter()
        .map(|format| {
            let optional = matches!(format, Format::Avif | Format::Jpeg2000);
            let support = if optional || format.has_pixels() {
                "read"
            } else {
                "size only"
            };
            (format.name().to_owned(), support.to_owned())
        })
        .collect();
    assert_eq!(listed, known);
    assert_eq!(Format::Avif.has_pixels(), cfg!(feature = "avif"));
    assert_eq!(Format::Jpeg2000.has_pixels(), cfg!(feature = "jpeg2000"));
}
