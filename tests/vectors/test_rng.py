"""Random numbers: those of the published generator, and our rules on its words."""

import hashlib

import pytest
from splitmix import M64, splitmix64

from cube24.vectors import rng


def test_words_are_those_of_the_published_generator():
    # The first words of seed 1234567, as Rosetta Code lists them.
    known = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    assert rng.SplitMix64(1234567).words(5).tolist() == known


@pytest.mark.parametrize("seed", [0, 1, M64, 0x123456789ABCDEF])
def test_words_are_the_same_however_they_are_drawn(seed):
    source, plain = rng.SplitMix64(seed), splitmix64(seed)
    drawn = [int(word) for count in (1, 0, 7, 100) for word in source.words(count)]
    assert drawn == [next(plain) for _ in range(108)]


def test_first_words_are_those_of_each_generator():
    seeds = [0, 1, M64, 0x123456789ABCDEF]
    drawn = [splitmix64(seed) for seed in seeds]
    assert rng.first_words(seeds, 9).tolist() == [[next(of) for _ in range(9)] for of in drawn]
    assert rng.first_words([], 9).shape == (0, 9)


def test_numbers_and_bytes_follow_their_rules():
    plain = splitmix64(9)
    assert rng.SplitMix64(9).below(11, 50).tolist() == [
        ((next(plain) >> 32) * 11) >> 32 for _ in range(50)
    ]
    plain = splitmix64(9)
    bytes_ = [next(plain) >> 56 for _ in range(50)]
    assert rng.SplitMix64(9).int8(50).tolist() == [b - 256 if b > 127 else b for b in bytes_]


def test_seeds_are_the_first_eight_bytes_of_a_hash():
    whole = hashlib.sha256(b"7/shapes/matmul-1x1x4").digest()
    assert rng.case_seed(7, "shapes", "matmul-1x1x4") == int.from_bytes(whole[:8], "big")
    whole = hashlib.sha256(b"99/weights").digest()
    assert rng.stream_seed(99, "weights") == int.from_bytes(whole[:8], "big")
