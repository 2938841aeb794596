//! SentencePiece unigram models: the tokenizer that Data-Juicer splits words with when a text has
//! no spaces to split at.
//!
//! The `tokenizers` crate has a unigram model too, but it normalises grapheme by grapheme and adds
//! scores in double precision. Pieces must be those of the original library, so its definition is
//! followed here: longest-prefix normalisation over the whole text, and a best path whose scores
//! are kept in single precision. That is version 0.2.3; versions up to 0.2.0 compared unrounded
//! sums, so that a few ties (`xxxxxxxx`) fell otherwise.

use std::fmt;

/// The visible stand-in for a space.
const SPACE_SYMBOL: &str = "\u{2581}";

/// How much worse than the worst piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Why a model file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError(String);

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ModelError {}

/// A unigram model that is ready to cut texts into pieces.
#[derive(Debug)]
pub struct SentencePiece {
    normalizer: Normalizer,
    trie: Trie,
    pieces: Vec<Piece>,
    unknown: u32,
    unknown_score: f32,
    byte_fallback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    score: f32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl SentencePiece {
    /// Reads a `.model` file.
    ///
    /// # Errors
    /// If it is not a SentencePiece model, or not a unigram one.
    pub fn parse(file: &[u8]) -> Result<Self, ModelError> {
        let mut model = Model::default();
        for field in Fields(file) {
            match field? {
                (1, Wire::Bytes(piece)) => model.add_piece(piece)?,
                (2, Wire::Bytes(trainer)) => model.read_trainer(trainer)?,
                (3, Wire::Bytes(normalizer)) => model.read_normalizer(normalizer)?,
                _ => {}
            }
        }
        model.build()
    }

    /// Calls `each` with every piece of `text`, in order. Unknown characters in a row make one
    /// piece.
    pub fn pieces(&self, text: &str, mut each: impl FnMut(&str)) {
        let normal = self.normalizer.normalize(text);
        let mut unknown: Option<(usize, usize)> = None;
        for (start, end, id) in self.best_path(&normal) {
            let is_unknown = id == self.unknown;
            if let Some((first, last)) = unknown.take_if(|_| !is_unknown) {
                each(normal.get(first..last).unwrap_or_default());
            }
            if !is_unknown {
                each(normal.get(start..end).unwrap_or_default());
            } else if self.byte_fallback {
                for byte in normal.as_bytes().get(start..end).unwrap_or_default() {
                    each(&format!("<0x{byte:02X}>"));
                }
            } else {
                unknown = Some((unknown.map_or(start, |(first, _)| first), end));
            }
        }
        if let Some((first, last)) = unknown {
            each(normal.get(first..last).unwrap_or_default());
        }
    }

    /// The most probable segmentation: (start, end, piece) in order.
    fn best_path(&self, text: &str) -> Vec<(usize, usize, u32)> {
        let mut ends = vec![PathEnd::default(); text.len() + 1];
        for (start, c) in text.char_indices() {
            let so_far = ends.get(start).map_or(0.0, |end| end.score);
            let one = start + c.len_utf8();
            let mut single = false;
            let rest = text.as_bytes().get(start..).unwrap_or_default();
            self.trie.prefixes(rest, |length, id| {
                let Some(piece) = self.pieces.get(id as usize) else {
                    return;
                };
                let score = match piece.kind {
                    Kind::Unused => return,
                    Kind::UserDefined => user_defined_score(length),
                    _ => piece.score,
                };
                if let Some(end) = ends.get_mut(start + length) {
                    end.offer(start, id, score + so_far);
                }
                single |= start + length == one;
            });
            if let Some(end) = ends.get_mut(one).filter(|_| !single) {
                end.offer(start, self.unknown, self.unknown_score + so_far);
            }
        }
        let mut path = Vec::new();
        let mut end = text.len();
        while let Some((start, id)) = ends.get(end).and_then(|last| last.from) {
            path.push((start, end, id));
            end = start;
        }
        path.reverse();
        path
    }
}

/// The best path that ends at some place of the text.
#[derive(Debug, Clone, Copy, Default)]
struct PathEnd {
    score: f32,
    /// Where its last piece starts, and which it is; `None` if no path ends here yet.
    from: Option<(usize, u32)>,
}

impl PathEnd {
    /// Takes a path if it is better.
    fn offer(&mut self, start: usize, id: u32, score: f32) {
        if self.from.is_none() || score > self.score {
            *self = Self {
                score,
                from: Some((start, id)),
            };
        }
    }
}

/// Better than whatever a user-defined symbol competes with. The library multiplies by its
/// largest score, which it starts at the smallest positive float; scores are negative, so that is
/// what stays.
#[expect(
    clippy::cast_precision_loss,
    reason = "the length of one piece is small"
)]
fn user_defined_score(length: usize) -> f32 {
    length as f32 * f32::MIN_POSITIVE - 0.1
}

/// A byte trie over the pieces; a node's children lie side by side, sorted by byte.
#[derive(Debug, Default)]
struct Trie {
    nodes: Vec<Node>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    children: u16,
    id: Option<u32>,
}

impl Trie {
    /// A trie of `keys`, which must be sorted and distinct.
    fn new(keys: &[(&[u8], u32)]) -> Self {
        let mut trie = Self::default();
        trie.add_node(0);
        // Each entry: a node, its depth, and the keys below it.
        let mut open = std::collections::VecDeque::from([(0_usize, 0_usize, keys)]);
        while let Some((node, depth, mut keys)) = open.pop_front() {
            if let Some((&(_, id), rest)) = keys.split_first().filter(|(k, _)| k.0.len() == depth) {
                if let Some(slot) = trie.nodes.get_mut(node) {
                    slot.id = Some(id);
                }
                keys = rest;
            }
            let first = trie.nodes.len();
            let mut children = 0;
            for group in keys.chunk_by(|a, b| a.0.get(depth) == b.0.get(depth)) {
                let byte = group.first().and_then(|(key, _)| key.get(depth)).copied();
                open.push_back((trie.nodes.len(), depth + 1, group));
                trie.add_node(byte.unwrap_or(0));
                children += 1;
            }
            if let Some(slot) = trie.nodes.get_mut(node) {
                slot.first_child = u32::try_from(first).unwrap_or(u32::MAX);
                slot.children = children;
            }
        }
        trie
    }

    fn add_node(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.nodes.push(Node {
            first_child: 0,
            children: 0,
            id: None,
        });
    }

    /// Calls `each` with the length and number of every key that `text` starts with, shortest
    /// first.
    fn prefixes(&self, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let Some(mut node) = self.nodes.first() else {
            return;
        };
        for (depth, byte) in text.iter().enumerate() {
            let first = node.first_child as usize;
            let siblings = self.bytes.get(first..first + usize::from(node.children));
            let Some(Ok(at)) = siblings.map(|bytes| bytes.binary_search(byte)) else {
                return;
            };
            let Some(child) = self.nodes.get(first + at) else {
                return;
            };
            if let Some(id) = child.id {
                each(depth + 1, id);
            }
            node = child;
        }
    }
}

/// What happens to a text before it is cut.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the model file"
)]
struct Normalizer {
    rules: Option<Rules>,
    /// Symbols that are passed on untouched.
    user_defined: Trie,
    dummy_prefix: bool,
    squeeze_spaces: bool,
    escape_spaces: bool,
    space_as_suffix: bool,
}

impl Normalizer {
    fn normalize(&self, text: &str) -> String {
        let mut rest = text;
        if self.squeeze_spaces {
            while let (" ", length) = self.prefix(rest) {
                rest = rest.get(length..).unwrap_or_default();
            }
        }
        if rest.is_empty() {
            return String::new();
        }
        let space = if self.escape_spaces {
            SPACE_SYMBOL
        } else {
            " "
        };
        let mut out = String::with_capacity(rest.len() + rest.len() / 4 + space.len());
        if self.dummy_prefix && !self.space_as_suffix {
            out.push_str(space);
        }
        let mut after_space = self.squeeze_spaces;
        while !rest.is_empty() {
            let (mut normal, length) = self.prefix(rest);
            if after_space {
                normal = normal.trim_start_matches(' ');
            }
            if !normal.is_empty() {
                for c in normal.chars() {
                    if c == ' ' {
                        out.push_str(space);
                    } else {
                        out.push(c);
                    }
                }
                after_space = normal.ends_with(' ');
            }
            after_space &= self.squeeze_spaces;
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
        if self.squeeze_spaces {
            out.truncate(out.trim_end_matches(space).len());
        }
        if self.dummy_prefix && self.space_as_suffix {
            out.push_str(space);
        }
        out
    }

    /// What the start of `text` becomes, and how many of its bytes that is.
    fn prefix<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        let mut kept = 0;
        self.user_defined
            .prefixes(text.as_bytes(), |length, _| kept = length);
        if kept > 0 {
            return (text.get(..kept).unwrap_or_default(), kept);
        }
        if let Some(found) = self.rules.as_ref().and_then(|rules| rules.longest(text)) {
            return found;
        }
        let width = text.chars().next().map_or(0, char::len_utf8);
        (text.get(..width).unwrap_or_default(), width)
    }
}

/// Replacement rules: a double array trie (as Darts writes it) from prefixes to offsets into
/// texts that are ended by NUL.
#[derive(Debug)]
struct Rules {
    units: Vec<u32>,
    texts: String,
}

impl Rules {
    fn parse(map: &[u8]) -> Result<Self, ModelError> {
        let broken = || ModelError("its normalisation rules are damaged".into());
        let (size, rest) = map.split_first_chunk::<4>().ok_or_else(broken)?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, texts) = rest.split_at_checked(size).ok_or_else(broken)?;
        let (units, []) = trie.as_chunks::<4>() else {
            return Err(broken());
        };
        Ok(Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            texts: String::from_utf8(texts.to_vec()).map_err(|_| broken())?,
        })
    }

    fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut at = offset(*self.units.first()?);
        let mut found = None;
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            at ^= usize::from(byte);
            let Some(&unit) = self.units.get(at) else {
                break;
            };
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                found = self.units.get(at).map(|leaf| (leaf & !(1 << 31), i + 1));
            }
        }
        let (value, length) = found?;
        let text = self.texts.get(value as usize..)?;
        Some((text.split('\0').next().unwrap_or_default(), length))
    }
}

/// The file as it is read.
#[derive(Debug)]
struct Model<'a> {
    pieces: Vec<(&'a [u8], Piece)>,
    unigram: bool,
    byte_fallback: bool,
    normalizer: Normalizer,
}

impl Default for Model<'_> {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            unigram: true,
            byte_fallback: false,
            normalizer: Normalizer {
                rules: None,
                user_defined: Trie::default(),
                dummy_prefix: true,
                squeeze_spaces: true,
                escape_spaces: true,
                space_as_suffix: false,
            },
        }
    }
}

impl<'a> Model<'a> {
    fn add_piece(&mut self, message: &'a [u8]) -> Result<(), ModelError> {
        let mut text: &[u8] = b"";
        let mut piece = Piece {
            score: 0.0,
            kind: Kind::Normal,
        };
        for field in Fields(message) {
            match field? {
                (1, Wire::Bytes(bytes)) => text = bytes,
                (2, Wire::Fixed32(bits)) => piece.score = f32::from_bits(bits),
                (3, Wire::Varint(kind)) => {
                    piece.kind = match kind {
                        2 => Kind::Unknown,
                        3 => Kind::Control,
                        4 => Kind::UserDefined,
                        5 => Kind::Unused,
                        6 => Kind::Byte,
                        _ => Kind::Normal,
                    }
                }
                _ => {}
            }
        }
        self.pieces.push((text, piece));
        Ok(())
    }

    fn read_trainer(&mut self, message: &[u8]) -> Result<(), ModelError> {
        for field in Fields(message) {
            match field? {
                (3, Wire::Varint(kind)) => self.unigram = kind == 1,
                (24, Wire::Varint(flag)) => self.normalizer.space_as_suffix = flag != 0,
                (35, Wire::Varint(flag)) => self.byte_fallback = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, message: &[u8]) -> Result<(), ModelError> {
        for field in Fields(message) {
            match field? {
                (2, Wire::Bytes([])) => {}
                (2, Wire::Bytes(map)) => self.normalizer.rules = Some(Rules::parse(map)?),
                (3, Wire::Varint(flag)) => self.normalizer.dummy_prefix = flag != 0,
                (4, Wire::Varint(flag)) => self.normalizer.squeeze_spaces = flag != 0,
                (5, Wire::Varint(flag)) => self.normalizer.escape_spaces = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn build(mut self) -> Result<SentencePiece, ModelError> {
        if !self.unigram {
            return Err(ModelError("it is not a unigram model".into()));
        }
        let numbered = || {
            self.pieces
                .iter()
                .zip(0_u32..)
                .map(|((text, piece), id)| (*text, piece.kind, id))
        };
        let keys_of = |kinds: &[Kind]| {
            let mut keys: Vec<(&[u8], u32)> = numbered()
                .filter(|(text, kind, _)| kinds.contains(kind) && !text.is_empty())
                .map(|(text, _, id)| (text, id))
                .collect();
            keys.sort_unstable();
            keys.dedup_by_key(|key| key.0);
            keys
        };
        let unknown = numbered()
            .find(|(_, kind, _)| *kind == Kind::Unknown)
            .map(|(_, _, id)| id)
            .ok_or_else(|| ModelError("it is not a SentencePiece model".into()))?;
        self.normalizer.user_defined = Trie::new(&keys_of(&[Kind::UserDefined]));
        let trie = Trie::new(&keys_of(&[Kind::Normal, Kind::UserDefined, Kind::Unused]));
        let worst = self
            .pieces
            .iter()
            .filter(|(_, piece)| piece.kind == Kind::Normal)
            .map(|(_, piece)| piece.score)
            .fold(f32::MAX, f32::min);
        Ok(SentencePiece {
            normalizer: self.normalizer,
            trie,
            pieces: self.pieces.iter().map(|(_, piece)| *piece).collect(),
            unknown,
            unknown_score: worst - UNKNOWN_PENALTY,
            byte_fallback: self.byte_fallback,
        })
    }
}

/// A value of a protocol buffer message.
enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a protocol buffer message: number and value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Wire::Other
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| ModelError("it is not a SentencePiece model".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        out.extend_from_slice(content);
        out
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let mut out = bytes(1, text.as_bytes());
        out.push(2 << 3 | 5);
        out.extend_from_slice(&score.to_le_bytes());
        out.extend_from_slice(&[3 << 3, kind]);
        bytes(1, &out)
    }

    /// Rules that turn `A` into `a` and nothing else.
    fn rules() -> Vec<u8> {
        let mut units = [0_u32; 66];
        units[0x41] = 1 << 10 | 1 << 8 | 0x41;
        units[0x41 ^ 1] = 1 << 31;
        let mut map = 264_u32.to_le_bytes().to_vec();
        map.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        map.extend_from_slice(b"a\0");
        map
    }

    fn model(extra: &[Vec<u8>]) -> Vec<u8> {
        let pieces = [
            piece("<unk>", 0.0, 2),
            piece("<s>", 0.0, 3),
            piece("\u{2581}", -2.0, 1),
            piece("a", -3.0, 1),
            piece("b", -3.0, 1),
            piece("ab", -4.0, 1),
            piece("\u{2581}ab", -4.5, 1),
            piece("ba", -1.0, 5),
        ];
        [&pieces, extra].concat().concat()
    }

    fn cut(model: &[u8], text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        let model = SentencePiece::parse(model).unwrap();
        model.pieces(text, |piece| pieces.push(piece.to_owned()));
        pieces
    }

    #[test]
    fn the_best_path_wins() {
        let model = model(&[]);
        assert_eq!(cut(&model, ""), [""; 0]);
        assert_eq!(cut(&model, "   "), [""; 0]);
        // Not `ba`, which is marked unused; spaces are squeezed and one is put before the text.
        assert_eq!(cut(&model, " aba  ab "), ["▁ab", "a", "▁ab"]);
        // Unknown characters in a row are one piece.
        assert_eq!(cut(&model, "aéüb"), ["▁", "a", "éü", "b"]);
        assert_eq!(cut(&model, "é"), ["▁", "é"]);
    }

    #[test]
    fn the_model_says_how_to_normalise() {
        let normalizer = bytes(3, &bytes(2, &rules()));
        assert_eq!(cut(&model(&[normalizer]), "AbB"), ["▁ab", "B"]);
        let no_prefix = bytes(3, &[3 << 3, 0, 4 << 3, 0]);
        assert_eq!(cut(&model(&[no_prefix]), "ab "), ["ab", "▁"]);
        let symbol = piece("b!", 0.0, 4);
        assert_eq!(cut(&model(&[symbol]), "ab!"), ["▁", "a", "b!"]);
    }

    #[test]
    fn bytes_stand_in_for_unknown_characters() {
        let trainer = bytes(2, &[35_u8 << 3 | 0x80, 2, 1]);
        assert_eq!(
            cut(&model(&[trainer]), "aé"),
            ["▁", "a", "<0xC3>", "<0xA9>"]
        );
    }

    #[test]
    fn other_files_are_refused() {
        for file in [
            b"".to_vec(),
            b"{\"en\": 1}".to_vec(),
            model(&[bytes(2, &[3 << 3, 2])]),
            model(&[bytes(3, &bytes(2, &[9, 9, 9, 9, 9]))]),
            model(&[])[..20].to_vec(),
        ] {
            assert!(SentencePiece::parse(&file).is_err(), "{file:?}");
        }
    }
}
