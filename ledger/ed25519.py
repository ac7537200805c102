"""The exact ed25519 verification rule of the ledger: ZIP-215, in plain integers.

Owns the curve arithmetic of the slow, exact path. Promises the same verdict on every machine. It never
signs, and is not constant-time: everything it touches is public.

Source: RFC 8032 §5.1, ZIP-215 (cofactored equation, non-canonical points accepted, S < L).
"""

from __future__ import annotations

import hashlib

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)

Point = tuple[int, int, int, int]
"""Extended homogeneous coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z."""

_IDENTITY: Point = (0, 1, 1, 0)


def _add(p: Point, q: Point) -> Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: Point) -> Point:
    result = _IDENTITY
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _negate(point: Point) -> Point:
    return (_P - point[0], point[1], point[2], _P - point[3])


def _is_identity(point: Point) -> bool:
    return point[0] % _P == 0 and (point[1] - point[2]) % _P == 0


def _decompress(encoded: bytes) -> Point | None:
    """Decode permissively: y may be ≥ p, and the sign bit of x = 0 may be set (ZIP-215)."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, (number & (2**255 - 1)) % _P
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == _P - u and u:
        x = x * _SQRT_M1 % _P
    if v * x * x % _P != u:
        return None
    if x & 1 != sign:
        x = (_P - x) % _P
    return (x, y, 1, x * y % _P)


_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def verify_zip215(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Judge an ed25519 signature by ZIP-215.

    Args:
        public_key: 32 bytes.
        message: any length.
        signature: 64 bytes, R ‖ S.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    a, r = _decompress(public_key), _decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    k = int.from_bytes(digest, "little") % _L
    difference = _add(_add(_multiply(s, _BASE), _negate(r)), _negate(_multiply(k, a)))
    return _is_identity(_multiply(8, difference))


def is_registrable(public_key: bytes) -> bool:
    """Tell whether a key is canonical, not of small order and in the prime-order subgroup.

    All verifiers agree on such keys, so only they may be registered.
    """
    point = _decompress(public_key) if len(public_key) == 32 else None
    if point is None:
        return False
    number = int.from_bytes(public_key, "little")
    canonical = number & (2**255 - 1) < _P and not (point[0] == 0 and number >> 255)
    return canonical and not _is_identity(_multiply(8, point)) and _is_identity(_multiply(_L, point))
