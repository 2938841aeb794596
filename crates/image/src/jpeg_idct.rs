//! The inverse cosine transform of libjpeg-turbo's SIMD code, in plain Rust.
//!
//! On every sound JPEG it gives the values of libjpeg's C code. Damage makes coefficients that no
//! picture has, and there the two part: SIMD code works in 16 bits, where sums wrap and results
//! saturate, and the C code looks wild values up in a table modulo 1024. Pillow's wheels hold the
//! SIMD code. So where the decoder was built without it (no nasm), this stands in its place, and a
//! damaged picture has the same pixels, and the same hash, on every machine.
#![expect(
    clippy::inline_always,
    reason = "the lanes become vectors only where all is one function: four times as fast"
)]

/// Eight rows of eight.
type Block = [[i16; 8]; 8];

/// Bits of fraction of the constants below.
const CONST_BITS: u32 = 13;

/// Bits of fraction that the columns leave to the rows.
const PASS1_BITS: u32 = 2;

const F_0_298: i16 = 2446;
const F_0_390: i16 = 3196;
const F_0_541: i16 = 4433;
const F_0_765: i16 = 6270;
const F_0_899: i16 = 7373;
const F_1_175: i16 = 9633;
const F_1_501: i16 = 12299;
const F_1_847: i16 = 15137;
const F_1_961: i16 = 16069;
const F_2_053: i16 = 16819;
const F_2_562: i16 = 20995;
const F_3_072: i16 = 25172;

/// Eight numbers that are treated alike, which the compiler takes for a vector.
type Lanes<T> = [T; 8];

/// The 8 × 8 samples of a block of quantised coefficients, row by row, both in natural order.
pub fn idct(coefficients: &[i16; 64], quantisation: &[u16; 64]) -> [[u8; 8]; 8] {
    let (rows, steps) = (
        coefficients.as_chunks::<8>().0,
        quantisation.as_chunks::<8>().0,
    );
    let input: Block = each(|y| each(|x| rows[y][x].wrapping_mul(steps[y][x].cast_signed())));
    let columns = if coefficients[8..].iter().all(|&c| c == 0) {
        // The shortcut shifts, and wraps, where the long way saturates.
        [input[0].map(|value| value << PASS1_BITS); 8]
    } else {
        transform(&input, CONST_BITS - PASS1_BITS)
    };
    let out = transform(&transpose(&columns), CONST_BITS + PASS1_BITS + 3);
    transpose(&out).map(|row| row.map(sample))
}

/// A sample is centred at 128.
fn sample(value: i16) -> u8 {
    u8::try_from(value.clamp(-128, 127) + 128).unwrap_or(u8::MAX)
}

fn transpose(block: &Block) -> Block {
    each(|y| each(|x| block[x][y]))
}

#[inline(always)]
fn each<T>(lane: impl Fn(usize) -> T) -> Lanes<T> {
    std::array::from_fn(lane)
}

/// Transforms the eight columns, and takes `shift` bits off.
#[inline(always)]
fn transform(rows: &Block, shift: u32) -> Block {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = rows;

    let even2 = pair(c2, F_0_541, c6, F_0_541 - F_1_847);
    let even3 = pair(c2, F_0_541 + F_0_765, c6, F_0_541);
    let even0 = each(|x| i32::from(c0[x].wrapping_add(c4[x])) << CONST_BITS);
    let even1 = each(|x| i32::from(c0[x].wrapping_sub(c4[x])) << CONST_BITS);
    let even = [
        plus(&even0, &even3),
        plus(&even1, &even2),
        minus(&even1, &even2),
        minus(&even0, &even3),
    ];

    let z3 = each(|x| c7[x].wrapping_add(c3[x]));
    let z4 = each(|x| c5[x].wrapping_add(c1[x]));
    let from3 = pair(&z3, F_1_175 - F_1_961, &z4, F_1_175);
    let from4 = pair(&z3, F_1_175, &z4, F_1_175 - F_0_390);
    let odd = [
        plus(&pair(c7, -F_0_899, c1, F_1_501 - F_0_899), &from4),
        plus(&pair(c5, -F_2_562, c3, F_3_072 - F_2_562), &from3),
        plus(&pair(c5, F_2_053 - F_2_562, c3, -F_2_562), &from4),
        plus(&pair(c7, F_0_298 - F_0_899, c1, -F_0_899), &from3),
    ];

    let sum = |i: usize| narrow(&plus(&even[i], &odd[i]), shift);
    let difference = |i: usize| narrow(&minus(&even[i], &odd[i]), shift);
    [
        sum(0),
        sum(1),
        sum(2),
        sum(3),
        difference(3),
        difference(2),
        difference(1),
        difference(0),
    ]
}

/// Two products and their sum, which is one instruction.
#[inline(always)]
fn pair(a: &Lanes<i16>, by_a: i16, b: &Lanes<i16>, by_b: i16) -> Lanes<i32> {
    each(|x| {
        let left = i32::from(a[x]) * i32::from(by_a);
        left.wrapping_add(i32::from(b[x]) * i32::from(by_b))
    })
}

#[inline(always)]
fn plus(a: &Lanes<i32>, b: &Lanes<i32>) -> Lanes<i32> {
    each(|x| a[x].wrapping_add(b[x]))
}

#[inline(always)]
fn minus(a: &Lanes<i32>, b: &Lanes<i32>) -> Lanes<i32> {
    each(|x| a[x].wrapping_sub(b[x]))
}

/// Rounds `shift` bits away; what does not fit saturates.
#[inline(always)]
fn narrow(values: &Lanes<i32>, shift: u32) -> Lanes<i16> {
    each(|x| {
        let value = values[x].wrapping_add(1 << (shift - 1)) >> shift;
        #[expect(clippy::cast_possible_truncation, reason = "clamped to 16 bits")]
        let narrow = value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
        narrow
    })
}
