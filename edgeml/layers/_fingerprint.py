"""Hashes of strings that are the same on every machine: FarmHash's fingerprint, and SipHash."""

from __future__ import annotations

_M = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_CROSS = 0xC6A4A7935BD1E995


def _right(value: int, bits: int) -> int:
    value &= _M
    return (value >> bits | value << (64 - bits)) & _M


def _mix(value: int) -> int:
    value &= _M
    return value ^ value >> 47


def _two(u: int, v: int, factor: int) -> int:
    """Mix two numbers of 64 bits to one."""
    a = _mix(((u ^ v) & _M) * factor)
    return _mix(((v ^ a) & _M) * factor) * factor & _M


def _word(data: bytes, at: int, size: int = 8) -> int:
    at = at if at >= 0 else len(data) + at
    return int.from_bytes(data[at : at + size], "little")


def fingerprint64(data: bytes) -> int:
    """Return FarmHash's fingerprint of 64 bits (G. Pike and J. Alakuijala, 2014).

    Example:
        >>> from edgeml.layers._fingerprint import fingerprint64
        >>> hex(fingerprint64(b""))
        '0x9ae16a3b2f90404f'
    """
    size = len(data)
    if size <= 16:
        return _short(data)
    factor = _K2 + 2 * size & _M
    if size <= 64:
        a, b = _word(data, 0) * (_K1 if size <= 32 else _K2), _word(data, 8)
        c, d = _word(data, -8) * factor, _word(data, -16) * _K2
        y = _right(a + b, 43) + _right(c, 30) + d
        z = _two(y & _M, a + _right(b + _K2, 18) + c & _M, factor)
        if size <= 32:
            return z
        e, f = _word(data, 16) * factor, _word(data, 24)
        g, h = (y + _word(data, -32)) * factor, (z + _word(data, -24)) * factor
        return _two(
            _right(e + f, 43) + _right(g, 30) + h & _M, e + _right(f + a, 18) + g & _M, factor
        )
    return _long(data)


def _short(data: bytes) -> int:
    size = len(data)
    factor = _K2 + 2 * size & _M
    if size >= 8:
        a, b = _word(data, 0) + _K2, _word(data, -8)
        c, d = _right(b, 37) * factor + a, (_right(a, 25) + b) * factor
        return _two(c & _M, d & _M, factor)
    if size >= 4:
        return _two(size + (_word(data, 0, 4) << 3), _word(data, -4, 4), factor)
    if not size:
        return _K2
    y, z = data[0] + (data[size >> 1] << 8), size + (data[-1] << 2)
    return _mix((y * _K2 ^ z * _K0) & _M) * _K2 & _M


def _chained(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Mix 32 bytes into a pair of numbers."""
    w, x, y, z = (_word(data, at + i) for i in (0, 8, 16, 24))
    a += w
    b = _right(b + a + z, 21)
    c = a
    a += x + y
    return a + z & _M, b + _right(a, 44) + c & _M


def _long(data: bytes) -> int:
    size = len(data)
    rest, end = size - 1 & 63, (size - 1) // 64 * 64
    x, y = 81 * _K2 + _word(data, 0), (81 * _K1 + 113) & _M
    z = _mix(y * _K2 + 113) * _K2 & _M
    v = w = (0, 0)

    def turn(at: int, factor: int, nine: int) -> None:
        nonlocal x, y, z, v, w
        x = _right(x + y + v[0] + _word(data, at + 8), 37) * factor
        y = _right(y + v[1] + _word(data, at + 48), 42) * factor
        x ^= w[1] * nine
        y += v[0] * nine + _word(data, at + 40)
        z = _right(z + w[0], 33) * factor & _M
        v = _chained(data, at, v[1] * factor, x + w[0])
        w = _chained(data, at + 32, z + w[1], y + _word(data, at + 16))
        x, z = z, x & _M

    for at in range(0, end, 64):
        turn(at, _K1, 1)
    factor = _K1 + ((z & 0xFF) << 1)
    first = w[0] + rest
    v = (v[0] + first & _M, v[1])
    w = (first + v[0] & _M, w[1])
    turn(end + rest - 63, factor, 9)
    return _two(
        _two(v[0], w[0], factor) + _mix(y) * _K0 + z & _M, _two(v[1], w[1], factor) + x & _M, factor
    )


def joined(first: int, second: int) -> int:
    """Return one fingerprint of two, in this order."""
    found = (first ^ _CROSS ^ _mix(second * _CROSS) * _CROSS) * _CROSS
    return _mix(_mix(found) * _CROSS)


def siphash24(data: bytes, key: tuple[int, int]) -> int:
    """Return SipHash-2-4 (J.-P. Aumasson and D. J. Bernstein, 2012).

    Example:
        >>> from edgeml.layers._fingerprint import siphash24
        >>> hex(siphash24(bytes(range(15)), (0x0706050403020100, 0x0F0E0D0C0B0A0908)))
        '0xa129ca6149be45e5'
    """
    text = (b"somepseudorandomlygeneratedbytes"[i : i + 8] for i in range(0, 32, 8))
    v = [int.from_bytes(part, "big") ^ key[i % 2] for i, part in enumerate(text)]

    def turn(count: int) -> None:
        for _ in range(count):
            for a, b, c, d, s, t in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
                v[a] = v[a] + v[b] & _M
                v[b] = _right(v[b], 64 - s) ^ v[a]
                v[a] = _right(v[a], 32)
                v[c] = v[c] + v[d] & _M
                v[d] = _right(v[d], 64 - t) ^ v[c]

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = _word(padded, at)
        v[3] ^= word
        turn(2)
        v[0] ^= word
    v[2] ^= 0xFF
    turn(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
