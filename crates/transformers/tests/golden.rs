//! Tensors and token ids beside those of transformers 4.57.1: recorded in `fixtures/transformers`,
//! and in the folder that `DJR_SHARED` names, where there is one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use djr_image::RgbImage;
use djr_transformers::{ChannelOrder, ImageProcessor, ModelFiles, Tokenizer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/transformers")
}

/// Digests of the pixels and of the tensor, or why there are none.
fn digests(processor: &ImageProcessor, image: &RgbImage) -> Result<(String, String), String> {
    let order = ChannelOrder::guess(image);
    let pixels = processor.pixels(image, order).map_err(|e| e.to_string())?;
    let tensor = processor.tensor(&pixels);
    let bytes: Vec<u8> = tensor.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok((sha256(&pixels.data), sha256(&bytes)))
}

fn check_tensor(case: &Value, processor: &ImageProcessor, image: Option<&RgbImage>) {
    let Some(image) = image else {
        assert_eq!(case["error"]["at"], "load_image", "{case}");
        return;
    };
    match digests(processor, image) {
        Ok((pixels, tensor)) => {
            assert_eq!(case["u8_hwc_sha256"], pixels, "{case}");
            assert_eq!(case["f32_chw_sha256"], tensor, "{case}");
        }
        Err(error) => assert_eq!(case["error"]["at"], "image_processor", "{case}: {error}"),
    }
}

fn processor(config: &Value) -> ImageProcessor {
    ImageProcessor::read(config.as_object().unwrap(), None).unwrap()
}

/// Holds a tokenizer to the ids of one line.
fn check_ids(folder: &Path, case: &Value) {
    let files = ModelFiles::new(folder, &read);
    let tokenizer = Tokenizer::auto(&files).unwrap();
    let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    if case.get("texts").is_none() {
        let length = case["max_length"].as_u64().unwrap();
        let length = usize::try_from(length).unwrap();
        let tokens = tokenizer.truncated(Some(length)).unwrap();
        let tokens = tokens.encode(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(tokens.ids, ids(&case["ids"]), "{case}");
        let whole = case["untruncated_length"].as_u64();
        let whole = whole.map_or(tokens.ids.len(), |n| usize::try_from(n).unwrap());
        assert_eq!(tokens.untruncated, whole, "{case}");
        return;
    }
    let tokenizer = tokenizer.truncated(None).unwrap();
    let texts = case["texts"].as_array().unwrap();
    for (i, text) in texts.iter().enumerate() {
        let mut got = tokenizer.encode(text.as_str().unwrap()).unwrap().ids;
        let wanted = ids(&case["ids"][i]);
        let mut mask = vec![1; got.len()];
        mask.resize(wanted.len(), 0);
        got.resize(wanted.len(), tokenizer.pad());
        assert_eq!(got, wanted, "{case}");
        assert_eq!(mask, ids(&case["attention_mask"][i]), "{case}");
    }
}

/// The picture that `fixtures/transformers/record.py` makes of the same size.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = u64::from(width) << 32 | u64::from(height);
    let data = (0..width * height * 3)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u8::try_from(state >> 56).unwrap()
        })
        .collect();
    RgbImage::new(width, height, data).unwrap()
}

#[test]
fn tensors_are_those_of_the_fixtures() {
    let cases = lines(&fixtures().join("tensors.jsonl"));
    assert!(cases.len() > 50);
    for case in &cases {
        let side = |i: usize| u32::try_from(case["size_wh"][i].as_u64().unwrap()).unwrap();
        let image = noise(side(0), side(1));
        check_tensor(case, &processor(&case["processor"]), Some(&image));
    }
}

#[test]
fn tokens_are_those_of_the_fixtures() {
    let cases = lines(&fixtures().join("tokens.jsonl"));
    assert!(cases.len() > 100);
    for case in &cases {
        check_ids(&fixtures().join(case["tokenizer"].as_str().unwrap()), case);
    }
}

fn shared() -> Option<PathBuf> {
    let shared = PathBuf::from(std::env::var_os("DJR_SHARED")?).join("golden_models");
    shared.is_dir().then_some(shared)
}

#[test]
fn tensors_of_the_shared_pictures_are_equal() {
    let Some(shared) = shared() else { return };
    let mut seen = 0;
    let cases = lines(&shared.join("preprocess.jsonl"));
    let mut images = std::collections::HashMap::new();
    for case in &cases {
        let folder = shared.join(case["processor"].as_str().unwrap());
        let files = ModelFiles::new(&folder, &read);
        let config = files.required("preprocessor_config.json").unwrap();
        let processor = ImageProcessor::read(&config, None).unwrap();
        let Some(name) = case["image"].as_str() else {
            // The same settings as another one's: the same tables and sizes.
            let twin = shared.join(case["same_as"].as_str().unwrap());
            let twin = ModelFiles::new(&twin, &read);
            let twin = twin.required("preprocessor_config.json").unwrap();
            let twin = ImageProcessor::read(&twin, None).unwrap();
            assert_eq!(processor.table(), twin.table());
            assert_eq!(processor.fixed_size(), twin.fixed_size());
            continue;
        };
        let image = images.entry(name.to_owned()).or_insert_with(|| {
            let bytes = std::fs::read(shared.join("images").join(name)).unwrap();
            let decoded = djr_image::decode(&bytes).ok();
            decoded.map(|decoded| decoded.image)
        });
        if image.is_none() && case.get("error").is_none() {
            // A truncated file, which Pillow fills up with grey where it is told to.
            assert_eq!(name, "truncated.jpg");
            continue;
        }
        check_tensor(case, &processor, image.as_ref());
        seen += 1;
    }
    assert!(seen > 370, "{seen} of {}", cases.len());
}

#[test]
fn tokens_of_the_shared_texts_are_equal() {
    let Some(shared) = shared() else { return };
    let cases = lines(&shared.join("tokens.jsonl"));
    for case in &cases {
        check_ids(&shared.join(case["tokenizer"].as_str().unwrap()), case);
    }
    assert!(cases.len() >= 240);
}
