//! Inputs from a seed: examples of a target, changed in ways that parsers trip over.
//!
//! An input depends on the target, the seed and its index only, so that any of a million can be made again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;

use fastrand::Rng;

use crate::Target;

/// Numbers at the edges of what parsers and arithmetic take.
const NUMBERS: [&str; 40] = [
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "0.1",
    "1.5",
    "1.005",
    "-1e0",
    "1E5",
    "1e-5",
    "1e-28",
    "1e-29",
    "1e28",
    "1e29",
    "1e308",
    "1e309",
    "-1e308",
    "5e-324",
    "1e-400",
    "1e999999999",
    "127",
    "128",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "79228162514264337593543950335",
    "-79228162514264337593543950335",
    "0.3333333333333333333333333333333333333333333333333333",
    "00",
];

/// Texts that are handled wrongly somewhere.
const TEXTS: [&str; 46] = [
    "",
    " ",
    "\u{0}",
    "\u{feff}",
    "\u{200b}",
    "\u{202e}",
    "\u{1f600}",
    "e\u{301}",
    "ß",
    "İ",
    "ﬀ",
    "\u{10ffff}",
    "\r\n",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\\\"",
    "/",
    "~",
    "~0~1",
    "..",
    "|",
    "#",
    "${",
    "${a",
    "%00",
    "null",
    "true",
    "NaN",
    "-",
    "[a b]",
    "[]",
    "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e",
    "1.0.0",
    "99999999999.0.0",
    "2026-11-23T07:58:03+08:00",
    "2026-11-23T23:59:60Z",
    "0000-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-02-30",
    "2026-11",
    "--11-23",
    "UNK",
    "10.0.0.0/33",
    "urn:uuid:0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e",
];

/// The largest number of changes of one input.
const MOST_CHANGES: u32 = 6;
/// One input in so many is full, where the product reads larger ones than are generated otherwise.
const FULL: u64 = 5_000;
/// Examples above this size are taken seldom: they cost much and show little more.
const LARGE_EXAMPLE: usize = 4 * 1024;

/// The inputs of a target.
#[derive(Debug)]
pub struct Generator {
    examples: Vec<Vec<u8>>,
    /// The words and texts of the examples.
    words: Vec<Vec<u8>>,
    largest: usize,
    full: usize,
    /// Of the target and the seed.
    seed: u64,
}

impl Generator {
    /// The inputs of `target` by `seed`.
    ///
    /// # Errors
    /// The target's examples cannot be read.
    pub fn new(target: &Target, seed: u64) -> io::Result<Self> {
        let examples: Vec<Vec<u8>> = target.examples()?.into_iter().map(|(_, bytes)| bytes).collect();
        if examples.is_empty() {
            return Err(io::Error::other(format!("the target {} has no examples", target.name)));
        }
        let mut words: Vec<Vec<u8>> = examples
            .iter()
            .flat_map(|example| tokens(example).into_iter().map(|token| example[token].to_vec()))
            .filter(|word| word.len() > 1 && !word[0].is_ascii_whitespace())
            .collect();
        words.sort();
        words.dedup();
        let mut hasher = DefaultHasher::new();
        (target.name, seed).hash(&mut hasher);
        let Target { largest, full, .. } = *target;
        Ok(Self { examples, words, largest, full, seed: hasher.finish() })
    }

    /// The input of this index.
    pub fn input(&self, index: u64) -> Vec<u8> {
        // Neighbouring seeds give unrelated numbers only after some mixing.
        let mut rng = Rng::with_seed(self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        rng.u64(..);
        let mut input = self.example(&mut rng).to_vec();
        for _ in 0..rng.u32(1..=MOST_CHANGES) {
            self.change(&mut input, &mut rng);
            if input.len() > self.largest {
                input.truncate(self.largest);
            }
        }
        if index % FULL == FULL - 1 && self.full > self.largest {
            self.fill(&mut input, &mut rng);
        }
        input
    }

    /// Repeats a piece of `input`, a small one as often as a large one, until it is full.
    fn fill(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let tokens = tokens(input);
        let span = match tokens.len() {
            0 => 0..0,
            number => with_separator(input, value_at(input, &tokens, rng.usize(..number))),
        };
        let mut piece = input[span.clone()].to_vec();
        if piece.last() != Some(&b',') {
            // The last of a list, or a line.
            piece.insert(0, if rng.bool() { b',' } else { b'\n' });
        }
        let times = self.full.saturating_sub(input.len()) / piece.len();
        replace(input, span.end..span.end, &piece.repeat(times));
    }

    fn example(&self, rng: &mut Rng) -> &[u8] {
        for _ in 0..20 {
            let example = &self.examples[rng.usize(..self.examples.len())];
            if example.len() <= LARGE_EXAMPLE {
                return example;
            }
        }
        &self.examples[rng.usize(..self.examples.len())]
    }

    fn change(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let tokens = tokens(input);
        let place = |rng: &mut Rng| rng.usize(..tokens.len().max(1)).min(tokens.len().saturating_sub(1));
        let span = |rng: &mut Rng| if tokens.is_empty() { 0..0 } else { value_at(input, &tokens, place(rng)) };
        match rng.u32(..24) {
            0..=2 => {
                let span = span(rng);
                let number = NUMBERS[rng.usize(..NUMBERS.len())];
                replace(input, span, number.as_bytes());
            }
            3..=4 => {
                let span = span(rng);
                let text = format!("\"{}\"", TEXTS[rng.usize(..TEXTS.len())]);
                replace(input, span, text.as_bytes());
            }
            5 => {
                // Within a text.
                let at = rng.usize(..=input.len());
                replace(input, at..at, TEXTS[rng.usize(..TEXTS.len())].as_bytes());
            }
            6..=8 => {
                let span = span(rng);
                let word =
                    if self.words.is_empty() { b"x".as_slice() } else { &self.words[rng.usize(..self.words.len())] };
                replace(input, span, word);
            }
            9 => {
                let span = span(rng);
                replace(
                    input,
                    span,
                    ["null", "true", "false", "[]", "{}", "[null]", "\"\""][rng.usize(..7)].as_bytes(),
                );
            }
            10 => {
                let span = span(rng);
                replace(input, span, b"");
            }
            11 => {
                let (from, to) = (place(rng), place(rng));
                if let (Some(from), Some(to)) = (tokens.get(from.min(to)), tokens.get(from.max(to))) {
                    replace(input, from.start..to.end, b"");
                }
            }
            12..=13 => {
                // A member or a row twice, or many times.
                let span = with_separator(input, span(rng));
                let piece = input[span.clone()].to_vec();
                let most = (self.largest / piece.len().max(1)).clamp(1, 4_096);
                let times = if rng.u32(..8) == 0 { rng.usize(1..=most) } else { 1 };
                replace(input, span.end..span.end, &piece.repeat(times));
            }
            14..=15 => {
                // A value of another example, or of this one.
                let other = if rng.bool() { self.example(rng).to_vec() } else { input.clone() };
                let others = crate::generate::tokens(&other);
                if !others.is_empty() {
                    let piece = value_at(&other, &others, rng.usize(..others.len()));
                    let span = if rng.bool() { span(rng) } else { span(rng).start..span(rng).start };
                    let span = span.start.min(span.end)..span.end.max(span.start);
                    replace(input, span, &other[piece]);
                }
            }
            16 => {
                let (one, other) = (span(rng), span(rng));
                let (one, other) = if one.start <= other.start { (one, other) } else { (other, one) };
                if one.end <= other.start {
                    let (first, second) = (input[one.clone()].to_vec(), input[other.clone()].to_vec());
                    replace(input, other, &first);
                    replace(input, one, &second);
                }
            }
            17 => {
                let span = span(rng);
                let depth = [1, 2, 15, 16, 17, 100, 127, 128, 129, 1_000, 30_000][rng.usize(..11)];
                let (open, close) = [("[", "]"), ("{\"a\":", "}"), ("[{\"item\":", "}]"), ("- ", "")][rng.usize(..4)];
                let depth = depth.min(self.largest / (open.len() + close.len()));
                let nested =
                    [open.repeat(depth).as_bytes(), &input[span.clone()], close.repeat(depth).as_bytes()].concat();
                replace(input, span, &nested);
            }
            18 => {
                let span = span(rng);
                let length = [30, 100, 200, 201, 1_000, 2_001, 20_000][rng.usize(..7)].min(self.largest / 2);
                let filler = ["a", "é", "\u{1f600}", "\\u0000", "1", " ", "{", "\\"][rng.usize(..8)];
                let text = format!("\"{}\"", filler.repeat(length / filler.len()));
                replace(input, span, text.as_bytes());
            }
            19 => {
                if !input.is_empty() {
                    let at = rng.usize(..input.len());
                    input[at] ^= 1 << rng.u32(..8);
                }
            }
            20 => {
                let at = rng.usize(..=input.len());
                let bytes: Vec<u8> = (0..rng.usize(1..4)).map(|_| rng.u8(..)).collect();
                replace(input, at..at, &bytes);
            }
            21 => {
                let at = rng.usize(..=input.len());
                replace(
                    input,
                    at..at,
                    [b"\xff".as_slice(), b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"][rng.usize(..4)],
                );
            }
            22 => {
                input.truncate(rng.usize(..=input.len()));
            }
            _ => self.change_lines(input, rng),
        }
    }

    /// Removes, repeats, swaps or indents lines.
    fn change_lines(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let mut lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let at = rng.usize(..lines.len());
        match rng.u32(..5) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = rng.usize(..lines.len());
                lines.swap(at, other);
            }
            3 => {
                let indent = rng.usize(1..5);
                lines[at].splice(0..0, vec![b' '; indent]);
            }
            _ => {
                let blank = lines[at].iter().take_while(|byte| **byte == b' ').count();
                lines[at].drain(..rng.usize(..=blank));
            }
        }
        *input = lines.join(&b'\n');
    }
}

/// The words, numbers, texts, white space and single characters of JSON or YAML, as ranges.
fn tokens(input: &[u8]) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let length = match rest[0] {
            b'"' => text_length(rest),
            byte if is_word(byte) => rest.iter().take_while(|byte| is_word(**byte)).count(),
            byte if byte.is_ascii_whitespace() => rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count(),
            _ => 1,
        };
        tokens.push(start..start + length);
        start += length;
    }
    tokens
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'_' | b'!' | b'$') || byte >= 0x80
}

/// The length of the text that begins `input`, its quotation marks included.
fn text_length(input: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in input.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    input.len()
}

/// The value that begins at a token: the whole list or object where it is a bracket.
fn value_at(input: &[u8], tokens: &[Range<usize>], at: usize) -> Range<usize> {
    let mut depth = 0_usize;
    for token in &tokens[at..] {
        match input[token.start] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return tokens[at].start..token.end;
        }
    }
    tokens[at].clone()
}

/// `span` with the member's key before it and a comma after it, where it has them.
fn with_separator(input: &[u8], span: Range<usize>) -> Range<usize> {
    let before = &input[..span.start];
    let key = before.strip_suffix(b": ").or_else(|| before.strip_suffix(b":")).and_then(|before| {
        let open = before.strip_suffix(b"\"")?.iter().rposition(|byte| *byte == b'"')?;
        Some(open)
    });
    let end = if input.get(span.end) == Some(&b',') { span.end + 1 } else { span.end };
    key.unwrap_or(span.start)..end
}

fn replace(input: &mut Vec<u8>, span: Range<usize>, by: &[u8]) {
    input.splice(span, by.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_depends_on_target_seed_and_index_only() {
        let inputs = |target: &str, seed| {
            let generator = Generator::new(Target::named(target).unwrap(), seed).unwrap();
            (0..100).map(|index| generator.input(index)).collect::<Vec<_>>()
        };
        assert_eq!(inputs("submission", 1), inputs("submission", 1));
        assert_ne!(inputs("submission", 1), inputs("submission", 2));
        assert_ne!(inputs("submission", 1), inputs("batch", 1));
    }

    #[test]
    fn some_inputs_are_as_large_as_the_product_accepts() {
        for name in ["batch", "rows"] {
            let target = Target::named(name).unwrap();
            let generator = Generator::new(target, 1).unwrap();
            let full = (1..10).map(|n| generator.input(n * FULL - 1).len()).filter(|length| length * 2 > target.full);
            assert!(full.count() > 5, "{name}");
            assert!(generator.input(FULL).len() <= target.largest);
        }
    }

    #[test]
    fn values_are_whole_lists_and_objects() {
        let text = br#"{"a": [1, {"b": "}\"]"}], "c": 2}"#;
        let tokens = tokens(text);
        let value = |start: usize| {
            let at = tokens.iter().position(|token| token.start == start).unwrap();
            std::str::from_utf8(&text[value_at(text, &tokens, at)]).unwrap()
        };
        assert_eq!(value(6), r#"[1, {"b": "}\"]"}]"#);
        assert_eq!(value(7), "1");
        assert_eq!(value(0).len(), text.len());
    }
}
