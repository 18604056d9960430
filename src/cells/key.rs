//! A key as words, and where its search begins.

use crate::fnv::mix;

/// Bytes of a text key at most.
pub(crate) const TEXT_BYTES_MAX: usize = 32;

/// A key, as slots hold it: a number in the first word, or text padded with NUL in four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyWords(pub(crate) [u64; 4]);

impl KeyWords {
    /// Of a number.
    pub(crate) const fn number(number: u64) -> Self {
        Self([number, 0, 0, 0])
    }

    /// Of a text; `None` for one that cannot be a key.
    pub(crate) fn text(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > TEXT_BYTES_MAX || bytes.contains(&0) {
            return None;
        }
        let mut padded = [0; TEXT_BYTES_MAX];
        padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let (chunks, _) = padded.as_chunks::<8>();
        let mut words = [0; 4];
        words.iter_mut().zip(chunks).for_each(|(to, from)| *to = u64::from_le_bytes(*from));
        Some(Self(words))
    }

    /// The text that it is the words of. Bytes that are not UTF-8, which nobody honest stores, show as
    /// replacement characters.
    pub(crate) fn to_text(self) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The hash that its search begins at: part of the format.
    pub(crate) fn hash(&self, words: usize) -> u64 {
        self.0.iter().take(words).fold(0, |hash, word| mix(hash ^ word))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart_to_the_last_byte() {
        let longest = "x".repeat(32);
        for text in ["a", "sensor/é", &longest] {
            assert_eq!(KeyWords::text(text).unwrap().to_text(), text);
        }
        for bad in ["", "a\0b", &"x".repeat(33)] {
            assert_eq!(KeyWords::text(bad), None);
        }
        assert_ne!(KeyWords::text("a"), KeyWords::text("a "));
    }

    #[test]
    fn hash_is_the_one_of_the_format() {
        assert_eq!(KeyWords::number(0).hash(1), 0xe220_a839_7b1d_cdaf);
        assert_eq!(KeyWords::number(1).hash(1), 0x910a_2dec_8902_5cc1);
        let text = KeyWords::text("sensor").unwrap();
        assert_eq!(text.hash(4), text.hash(4));
        assert_ne!(text.hash(4), KeyWords::text("rosnes").unwrap().hash(4));
    }
}
