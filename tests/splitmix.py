"""SplitMix64 as it was published, one word at a time: the oracle of the package's generator."""

M64 = (1 << 64) - 1


def splitmix64(seed):
    """The reference algorithm of Vigna, one word at a time."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & M64
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        yield z ^ (z >> 31)
