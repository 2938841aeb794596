//! The list of all notes: the only place where their codes and what they mean stand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares the kinds of notes: a variant, its code, what it means and what can be done.
macro_rules! codes {
    ($($variant:ident = $code:literal: $meaning:literal, $advice:literal;)+) => {
        /// What kind of note it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $code)] $variant),+
        }

        impl Code {
            /// All kinds, in the order of the page.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code that records and messages have.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// What a note of this kind means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// What can be done about it; empty where there is nothing to do.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice),+ }
            }
        }
    };
}

codes! {
    FilesPassedOver = "files_passed_over":
        "files of an input directory, or files that a pattern matches, are not read: hidden ones, formats that djr does not read, what djr wrote",
        "name such a file by itself to read it all the same";
    SplitsTogether = "splits_together":
        "files of an input directory whose names say that they are of several splits (`train-00000-of-00002.parquet`, `test-…`) are read together",
        "name those of one: `data/train-*.parquet`";
    PathInTwoPlaces = "path_in_two_places":
        "a relative path names one file beside the recipe and another one in the working directory: the first is taken, Data-Juicer would take the second",
        "write an absolute path, or run in the recipe's directory";
    KeyIgnored = "key_ignored":
        "a key or parameter has no meaning here",
        "";
    KeyRepeated = "key_repeated":
        "a key stands twice in a mapping: the last one counts",
        "remove the other";
    ParamTakenOver = "param_taken_over":
        "a step leaves a parameter out that an earlier step of the same operator sets, and takes it from there, as in Data-Juicer",
        "write the parameter";
    FieldOfNoRow = "field_of_no_row":
        "a field that the recipe asks for is in no row that was read; where no row could be processed without it, the run fails instead",
        "name the field that rows have: `text_keys`, `image_key`, or the parameter of the step";
    StatOfOtherField = "stat_of_other_field":
        "a filter decides by a stat that an earlier step measured on another field: what a row has is not measured again, as in Data-Juicer",
        "use one field a stat, or run the second filter in a recipe of its own";
    StatOfOtherStep = "stat_of_other_step":
        "a filter decides by a stat that an earlier step measured in another way (with other parameters, or as another operator): what a row has is not measured again, as in Data-Juicer",
        "give both steps the same parameters, bounds aside, or run the second filter in a recipe of its own";
    StatBeforeChange = "stat_before_change":
        "a filter decides by a stat that was measured before a step changed the text or the images: what a row has is not measured again, as in Data-Juicer",
        "move the step that changes rows before the first filter of that stat";
    StatCameAlong = "stat_came_along":
        "a filter decides by stats that came with the input (`__dj__stats__`) and were not measured in this run, as in Data-Juicer",
        "remove the field `__dj__stats__` from the rows to have them measured";
    StatMeasuredAgain = "stat_measured_again":
        "stats that came with the input (`__dj__stats__`) are null, or of another type than the filter measures: they were measured anew",
        "";
    BoundsUnknown = "bounds_unknown":
        "what the filters of an analysis would drop is not known: bounds that come from the data lie in the wrong order",
        "give one of the two bounds as a number";
    HashOfOtherStep = "hash_of_other_step":
        "an exact deduplicator compares the hashes that an earlier one made, with that one's field and parameters, as in Data-Juicer",
        "keep one of them, or run the second in a recipe of its own";
    RoundingDecided = "rounding_decided":
        "rows so near a bound that rounding, as Data-Juicer does it, decided about them",
        "`compat_stats: exact` does not round";
    ShortTexts = "short_texts":
        "texts of fewer tokens than `window_size` have no window, and a near-duplicate detector (minhash, simhash) takes all of them for one text, as Data-Juicer does",
        "`short_texts: exact` compares them by equality, `short_texts: keep` leaves them alone; or choose a smaller `window_size`, or `tokenization: character`";
    BlankImages = "blank_images":
        "pictures of one colour (blank ones, or transparent ones, which have none but in their alpha) have a hash without content: all of them count as one picture, as in Data-Juicer",
        "drop them before by the size of their files, or compare with `consider_text: true`";
    ImageTokensDiffer = "image_tokens_differ":
        "rows whose text has another number of image tokens than the row has images: loaders of such rows stop there",
        "mend the texts; `image_special_token` names the token";
    IdsRepeat = "ids_repeat":
        "rows whose `id` an earlier row has: `djr why` tells of all of them, and matching by id is ambiguous",
        "";
    SampleShort = "sample_short":
        "a sample has fewer rows than it was to have",
        "";
    NothingMeasured = "nothing_measured":
        "the recipe of an analysis has no filter that measures",
        "";
    ImagesAgain = "images_again":
        "a step of a recut looks at the images of the rows that reach it: what it would need of them is not stored",
        "put filters that look at images before the first step that decides among all rows; nothing else is decoded";
    CacheTrouble = "cache_trouble":
        "the cache, or a part of it, is damaged or cannot be written: what it would have told was computed, and the outputs are the same",
        "`djr cache gc DIR` leaves out what is damaged";
    ImagesUnknown = "images_unknown":
        "the stats that a recut reads do not say which images decode: outputs check them again",
        "";
    VariableUnknown = "variable_unknown":
        "a variable of the environment begins with `DJR_` and stands for no option",
        "`djr COMMAND --help` lists the options: `DJR_THREADS` is `--threads`";
}

/// A set of kinds of notes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Codes(u64);

impl Codes {
    /// Adds a kind.
    pub fn insert(&mut self, code: Code) {
        self.0 |= 1 << code as u32;
    }

    /// Removes a kind, and says whether it was there.
    pub fn remove(&mut self, code: Code) -> bool {
        let was = self.contains(code);
        self.0 &= !(1 << code as u32);
        was
    }

    /// Whether a kind is among them.
    #[must_use]
    pub fn contains(self, code: Code) -> bool {
        self.0 & 1 << code as u32 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds in the order of the page.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        Code::ALL
            .iter()
            .copied()
            .filter(move |code| self.contains(*code))
    }

    /// All kinds as a number, for working files of this program only.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// What [`Self::bits`] gave.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// How often each kind was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts([u64; Code::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Code::ALL.len()])
    }
}

impl Counts {
    /// Counts each of `codes` once.
    pub fn add(&mut self, codes: Codes) {
        if !codes.is_empty() {
            for code in codes.iter() {
                if let Some(count) = self.0.get_mut(code as usize) {
                    *count += 1;
                }
            }
        }
    }

    /// Counts `code` so many times more.
    pub fn add_many(&mut self, code: Code, times: u64) {
        if let Some(count) = self.0.get_mut(code as usize) {
            *count += times;
        }
    }

    /// The kinds that were found, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Code, u64)> {
        let all = Code::ALL.iter().copied().zip(self.0);
        all.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut codes = Codes::default();
        codes.insert(Code::ImagesUnknown);
        codes.insert(Code::ShortTexts);
        assert!(codes.contains(Code::ShortTexts) && !codes.contains(Code::IdsRepeat));
        assert_eq!(Codes::from_bits(codes.bits()), codes);
        assert!(codes.remove(Code::ShortTexts) && !codes.remove(Code::ShortTexts));
        let mut counts = Counts::default();
        counts.add(codes);
        counts.add(codes);
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            [(Code::ImagesUnknown, 2)]
        );
    }

    #[test]
    fn codes_are_words_and_each_stands_once() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(serde_json::json!(code), code.word());
        }
    }
}
