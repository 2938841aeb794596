//! The bits of a JPEG's scan, and the codes in them.

use std::cell::RefCell;
use std::rc::Rc;

/// Zeros behind the last bit, for reads that look ahead.
const PADDING: usize = 16;

/// A scan, its escapes undone, cut at its restarts.
#[derive(Debug)]
pub struct Bits {
    data: Vec<u8>,
    place: Place,
    /// Where the part ends that is being read; then the ends of the others, the next one last.
    end: usize,
    ends: Vec<usize>,
    /// Units of blocks in a part, and those left until the next one.
    every: usize,
    until: usize,
    /// Bytes of the file that the scan takes.
    pub length: usize,
}

/// How far a stream was read.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The next byte that is not in `buffer`.
    at: usize,
    /// The next bits, from the highest on; so many of them have been counted.
    buffer: u64,
    left: u32,
}

impl Bits {
    /// Reads the scan of `units` units at the beginning of `bytes`, restarted every `restart` units
    /// (never, if that is 0). `None` if anything but the right restarts and the end of the picture
    /// stands between its bits.
    pub fn read(bytes: &[u8], units: usize, restart: usize) -> Option<Self> {
        let mut data = Vec::with_capacity(bytes.len() + PADDING);
        let mut ends = Vec::new();
        let mut from = 0;
        let length = loop {
            let at = from + memchr::memchr(0xff, bytes.get(from..)?)?;
            match bytes.get(at + 1)? {
                0 => {
                    data.extend_from_slice(bytes.get(from..=at)?);
                    from = at + 2;
                }
                0xd9 => {
                    data.extend_from_slice(bytes.get(from..at)?);
                    break at;
                }
                &marker @ 0xd0..=0xd7 if usize::from(marker & 7) == ends.len() % 8 => {
                    data.extend_from_slice(bytes.get(from..at)?);
                    ends.push(data.len());
                    from = at + 2;
                }
                _ => return None,
            }
        };
        ends.push(data.len());
        let every = if restart == 0 { units } else { restart };
        if ends.len() != units.div_ceil(every) {
            return None;
        }
        data.resize(data.len() + PADDING, 0);
        ends.reverse();
        Some(Self {
            data,
            place: Place::default(),
            end: 0,
            ends,
            every,
            until: 0,
            length,
        })
    }

    /// Makes ready for the next unit of blocks. True if a part of the scan begins with it, in
    /// which the first coefficients are counted from 0 again. `None` if the part before was longer
    /// or shorter than its units.
    pub fn unit(&mut self) -> Option<bool> {
        let begins = self.until == 0;
        if begins {
            self.finish_part()?;
            self.place = Place {
                at: self.end,
                ..Place::default()
            };
            self.end = self.ends.pop()?;
            self.until = self.every;
        }
        self.until -= 1;
        Some(begins)
    }

    /// `None` if there is more than was read, or not as much.
    pub fn finish(&self) -> Option<()> {
        self.ends.is_empty().then(|| self.finish_part()).flatten()
    }

    /// What is left of the last byte of a part does not count.
    fn finish_part(&self) -> Option<()> {
        let read = self.place.at * 8 - self.place.left as usize;
        let end = self.end * 8;
        (read <= end && end - read < 8).then_some(())
    }

    /// Reads on from where the last reader stopped. What it read counts where it gives a value.
    pub fn reader<T>(&mut self, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Option<T> {
        let mut reader = Reader {
            data: &self.data,
            place: self.place,
        };
        let value = read(&mut reader)?;
        self.place = reader.place;
        Some(value)
    }
}

/// Reads bits: first `fill`, then up to 56 bits.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    data: &'a [u8],
    place: Place,
}

impl Reader<'_> {
    /// Makes sure of 56 bits.
    #[inline]
    pub fn fill(&mut self) -> Option<()> {
        let Place { at, buffer, left } = &mut self.place;
        let next = self.data.get(*at..)?.first_chunk()?;
        *buffer |= u64::from_be_bytes(*next) >> *left;
        *at += ((63 - *left) >> 3) as usize;
        *left |= 0b11_1000;
        Some(())
    }

    /// The next bits, from the highest on; zeros or more bits of the file behind those made sure of.
    #[inline]
    pub fn buffer(&self) -> u64 {
        self.place.buffer
    }

    /// The next `count` bits, of 1 to 63.
    #[inline]
    pub fn peek(&self, count: u32) -> u64 {
        self.place.buffer >> (64 - count)
    }

    /// Steps over `count` bits, which must be there.
    #[inline]
    pub fn skip(&mut self, count: u32) {
        self.place.buffer <<= count;
        self.place.left -= count;
    }

    /// The number of `size` bits, of 1 to 15, as JPEG writes numbers of either sign.
    #[inline]
    pub fn number(&mut self, size: u32) -> i32 {
        let bits = i32::try_from(self.peek(size)).unwrap_or(0);
        self.skip(size);
        signed(bits, size)
    }
}

/// The number that `bits`, of which there are `size`, stand for.
#[inline]
pub fn signed(bits: i32, size: u32) -> i32 {
    if bits >> (size - 1) == 0 {
        bits - (1 << size) + 1
    } else {
        bits
    }
}

/// A table of codes as a file has it: how many there are of each length, and what they stand for.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    pub counts: &'a [u8; 16],
    pub symbols: &'a [u8],
}

impl Codes<'_> {
    /// Calls `found` with length, code and symbol of each. `None` if libjpeg refuses the table.
    pub fn each(&self, mut found: impl FnMut(u32, u32, u8)) -> Option<()> {
        let mut symbols = self.symbols.iter();
        let mut code = 0_u32;
        for (length, &count) in (1..).zip(self.counts) {
            for _ in 0..count {
                found(length, code, *symbols.next()?);
                code += 1;
            }
            // No code is all ones.
            if count > 0 && code >= 1 << length {
                return None;
            }
            code <<= 1;
        }
        Some(())
    }
}

/// Codes to be looked up.
pub struct CodeTable {
    width: u32,
    /// For all `width` bits that may come next the code they begin with, its length above its
    /// symbol; 0 where it is longer, or none.
    short: Vec<u16>,
    /// The longer ones in rising order: with zeros to 16 bits, length and symbol.
    long: Vec<(u64, u32, u8)>,
}

impl CodeTable {
    /// Looks codes up by their first `width` bits.
    pub fn new(codes: Codes<'_>, width: u32) -> Option<Self> {
        let mut short = vec![0; 1 << width];
        let mut long = Vec::new();
        codes.each(|length, code, symbol| {
            let Some(free) = width.checked_sub(length) else {
                return long.push((u64::from(code) << (16 - length), length, symbol));
            };
            let from = (code as usize) << free;
            if let Some(entries) = short.get_mut(from..from + (1 << free)) {
                entries.fill(u16::try_from(length).unwrap_or(0) << 8 | u16::from(symbol));
            }
        })?;
        Some(Self { width, short, long })
    }

    /// For all bits that may come next the code they begin with, its length above its symbol; 0
    /// where that is longer, or none.
    pub fn short(&self) -> &[u16] {
        &self.short
    }

    /// The code that `buffer` begins with: its length, and what it stands for.
    #[inline]
    pub fn find(&self, buffer: u64) -> Option<(u32, u8)> {
        let bits = usize::try_from(buffer >> (64 - self.width)).ok()?;
        match self.short.get(bits)?.to_be_bytes() {
            [0, _] => self.find_long(buffer),
            [length, symbol] => Some((u32::from(length), symbol)),
        }
    }

    #[cold]
    fn find_long(&self, buffer: u64) -> Option<(u32, u8)> {
        let bits = buffer >> 48;
        let after = self.long.partition_point(|(code, _, _)| *code <= bits);
        let (code, length, symbol) = *self.long.get(after.checked_sub(1)?)?;
        ((bits - code) >> (16 - length) == 0).then_some((length, symbol))
    }
}

/// Bits of a scan that are looked at in one step.
pub const WIDTH: u32 = 12;

/// The codes of a channel's other coefficients: what the next [`WIDTH`] bits mean to a reader, and
/// one code after the other.
pub struct Others<T> {
    ahead: Box<[T; 1 << WIDTH]>,
    /// The codes one by one, for where `ahead` does not know.
    pub single: CodeTable,
}

impl<T: Copy> Others<T> {
    /// `meaning` says what bits mean, if they come next, by the entries of [`CodeTable::short`].
    pub fn new(codes: Codes<'_>, meaning: impl Fn(&[u16], usize) -> T) -> Option<Self> {
        let single = CodeTable::new(codes, WIDTH)?;
        let ahead: Vec<T> = (0..1 << WIDTH)
            .map(|bits| meaning(single.short(), bits))
            .collect();
        Some(Self {
            ahead: ahead.into_boxed_slice().try_into().ok()?,
            single,
        })
    }

    /// What comes next; the bits must be there.
    #[expect(clippy::inline_always, reason = "the reader stays in registers")]
    #[inline(always)]
    pub fn ahead(&self, reader: &Reader<'_>) -> Option<T> {
        let bits = usize::try_from(reader.peek(WIDTH)).ok()?;
        self.ahead.get(bits).copied()
    }
}

/// The codes of a channel's first coefficients.
pub struct First(CodeTable);

/// A sound picture has no difference of more bits.
const LARGEST: u8 = 11;

thread_local! {
    static FIRST: Kept<First> = const { Kept::new() };
}

impl First {
    /// `None` if libjpeg refuses them.
    pub fn new(codes: Codes<'_>) -> Option<Rc<Self>> {
        FIRST.with(|kept| {
            kept.get(codes, || {
                let all_small = codes.symbols.iter().all(|&symbol| symbol <= 15);
                all_small.then(|| CodeTable::new(codes, 9).map(Self))?
            })
        })
    }

    /// Reads how far a coefficient is from the one before: up to 27 bits, which must be there.
    #[expect(clippy::inline_always, reason = "the reader stays in registers")]
    #[inline(always)]
    pub fn difference(&self, reader: &mut Reader<'_>) -> Option<i32> {
        let (length, size) = self.0.find(reader.buffer())?;
        reader.skip(length);
        match size {
            0 => Some(0),
            1..=LARGEST => Some(reader.number(u32::from(size))),
            _ => None,
        }
    }
}

/// What was made of tables of codes, since most files have those of their encoder. Each thread
/// keeps its own.
pub struct Kept<T>(RefCell<Vec<(Vec<u8>, Rc<T>)>>);

/// So many are kept; the oldest goes.
const KEPT: usize = 8;

impl<T> Kept<T> {
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// What `make` makes of `codes`, or made of them before.
    pub fn get(&self, codes: Codes<'_>, make: impl FnOnce() -> Option<T>) -> Option<Rc<T>> {
        let is_it = |key: &[u8]| {
            key.strip_prefix(codes.counts.as_slice())
                .is_some_and(|symbols| symbols == codes.symbols)
        };
        let mut kept = self.0.borrow_mut();
        if let Some((_, known)) = kept.iter().find(|(key, _)| is_it(key)) {
            return Some(Rc::clone(known));
        }
        let fresh = Rc::new(make()?);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(([codes.counts, codes.symbols].concat(), Rc::clone(&fresh)));
        Some(fresh)
    }
}
