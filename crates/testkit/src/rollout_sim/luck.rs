//! Luck from a seed: xorshift64*, so that the same seed gives the same run on every machine.

/// A stream of numbers that look random.
#[derive(Debug, Clone)]
pub(super) struct Luck(u64);

impl Luck {
    /// The stream of a seed; `stream` tells several of one seed apart.
    pub(super) fn new(seed: u64, stream: u64) -> Luck {
        let mixed = (seed ^ stream.rotate_left(32)).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Luck((mixed ^ (mixed >> 32)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 31
    }

    /// From 0 to below `n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % (n.max(1) as u64)) as usize
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % ((high - low).max(0) as u64 + 1)) as i64
    }

    /// True so many times of a thousand.
    pub(super) fn permille(&mut self, n: u32) -> bool {
        self.next() % 1000 < u64::from(n)
    }

    /// One of these.
    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Puts them in an order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
