"""Random numbers as a pure function of integers.

A scene must look the same on every machine and with every release of numpy, and the labels of a
hundred thousand scenes must be known without drawing the scenes. Hashing counters gives both.
"""

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def mix(counters: np.ndarray) -> np.ndarray:
    """Scrambles integers with the finaliser of SplitMix64 (Steele et al., 2014), a bijection.

    Args:
        counters: Integers of any shape; taken modulo 2**64.

    Returns:
        uint64 array of the same shape.
    """
    value = np.atleast_1d(np.asarray(counters).astype(np.uint64)) * _GAMMA
    value = (value ^ (value >> _SHIFTS[0])) * _FACTORS[0]
    value = (value ^ (value >> _SHIFTS[1])) * _FACTORS[1]
    return (value ^ (value >> _SHIFTS[2])).reshape(np.shape(counters))


def uniform(counters: np.ndarray, key: int = 0) -> np.ndarray:
    """Hashes integers to numbers spread evenly over [0, 1).

    Args:
        counters: Integers of any shape.
        key: Selects one of 2**64 independent streams.

    Returns:
        float64 array of the same shape, multiples of 2**-53.
    """
    scrambled = mix(np.asarray([key % 2**64], dtype=np.uint64))[0]
    hashed = mix(np.asarray(counters).astype(np.uint64) + scrambled)
    return (hashed >> np.uint64(11)) * 2.0**-53
