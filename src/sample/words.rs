//! Closed choices that recipes, the command line, records and schemas all write as the same word.

/// Declares an enum whose variants are words: one list for all who read or write it.
macro_rules! words {
    ($(#[$meta:meta])+ $name:ident { $($(#[$vmeta:meta])+ $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])+
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash,
            serde::Serialize, serde::Deserialize, clap::ValueEnum,
        )]
        pub enum $name {
            $($(#[$vmeta])+ #[serde(rename = $word)] #[value(name = $word)] $variant),+
        }

        impl $name {
            /// All words, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The choice written as `word`.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The word that recipes use.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

pub(crate) use words;
