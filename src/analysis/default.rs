//! What is measured when no recipe says so.

use crate::recipe::{self, LoadOptions, Problems, Recipe, RecipeSource, Target};

/// Filters that need no word lists and no models, without bounds: they measure and drop nothing.
const DEFAULT: &str = "\
project_name: analysis
process:
  - text_length_filter: {min_len: null}
  - words_num_filter: {min_num: null}
  - average_line_length_filter: {min_len: null}
  - maximum_line_length_filter: {min_len: null}
  - alphanumeric_filter: {min_ratio: null}
  - special_characters_filter: {min_ratio: null, max_ratio: null}
  - character_repetition_filter: {min_ratio: null, max_ratio: null}
  - word_repetition_filter: {rep_len: 3, min_ratio: null, max_ratio: null}
  - image_shape_filter: {min_width: null, min_height: null}
  - image_aspect_ratio_filter: {min_ratio: null, max_ratio: null}
  - image_size_filter: {min_size: '0', max_size: 1YB}
";

/// The recipe of an analysis without one, over the input of `options`.
///
/// # Errors
/// If that input is not there.
pub fn default_recipe(mut options: LoadOptions) -> Result<Recipe, Problems> {
    options.output = Some(Target::Stdout);
    let source = RecipeSource::Text {
        name: "default set of filters".into(),
        text: DEFAULT.into(),
    };
    recipe::load(&source, &options)
}
