"""One random VAE-GAN, and TensorFlow checkpoints V1 and V2 written byte by byte, for the tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
CODES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
LATENTS = 7


def vaegan_variables(seed: int = 3, encoder=(4, 5, 6), decoder=(6, 5, 3), hidden=9, latents=LATENTS, size=2, first=8):
    """TensorFlow's variables of a VAE-GAN of 2^n * size pixels."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)

    def norm(scope, n):
        ema = f"{scope}/bn/{scope}/bn/moments/Squeeze{{}}/ExponentialMovingAverage"
        return {
            f"{scope}/bn/beta": normal(n), f"{scope}/bn/gamma": 1 + normal(n),
            ema.format(""): normal(n), ema.format("_1"): 0.5 + rng.random(n).astype(np.float32),
        }  # fmt: skip

    variables = {}
    for i, (before, width) in enumerate(zip((3, *encoder), encoder, strict=False), 1):
        scope = f"encoder/layer{i}"
        variables |= {f"{scope}/conv2d/W": normal(3, 3, before, width), f"{scope}/conv2d/b": normal(width)}
        variables |= norm(scope, width)
    n_units = size * size * encoder[-1]
    variables |= {"encoder/fc/W": normal(n_units, hidden), "encoder/fc/b": normal(hidden)}
    for head in ("mu", "log_sigma"):
        scope = f"encoder/variational/{head}"
        variables |= {f"{scope}/W": normal(hidden, latents), f"{scope}/b": normal(latents)}
    n_units = size * size * first
    variables |= {"generator/fc/W": normal(latents, n_units), "generator/fc/b": normal(n_units)}
    for i, (before, width) in enumerate(zip((first, *decoder), decoder, strict=False), 1):
        scope = f"generator/layer{i}"
        kernel = normal(3, 3, before, width).transpose(0, 1, 3, 2)
        variables |= {f"{scope}/deconv2d/W": np.ascontiguousarray(kernel), f"{scope}/deconv2d/b": normal(width)}
        variables |= norm(scope, width)
    return variables


# --- bytes ------------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    value = int(value) & (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as the polynomial says."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> int:
    from hyper_bids.weights.crc32c import crc32c  # against `slow_crc32c` in a test of its own

    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def snappy_literals(data: bytes) -> bytes:
    """Pack as snappy: literals, and copies where the same four bytes came directly before."""
    out, position = bytearray(varint(len(data))), 0
    while position < len(data):
        piece = data[position : position + 60]
        run = 0
        while (
            position >= 4
            and run < 60
            and data[position + run : position + run + 1] == data[position + run - 4 : position + run - 3] != b""
        ):
            run += 1
        if run >= 4:
            out += bytes([(run - 1) << 2 | 2]) + struct.pack("<H", 4)
            position += run
        else:
            out += bytes([(len(piece) - 1) << 2]) + piece
            position += len(piece)
    return bytes(out)


def block(entries: list[tuple[bytes, bytes]], interval: int = 4) -> bytes:
    out, restarts, before = bytearray(), [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return bytes(out) + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def table(entries: dict[bytes, bytes], per_block: int = 5, snappy: bool = False) -> bytes:
    out, index = bytearray(), []
    items = sorted(entries.items())

    def add(content: bytes) -> bytes:
        content = (snappy_literals(content) if snappy else content) + bytes([snappy])
        handle = varint(len(out)) + varint(len(content) - 1)
        out.extend(content + struct.pack("<I", masked_crc(content)))
        return handle

    for start in range(0, len(items), per_block):
        part = items[start : start + per_block]
        index.append((part[-1][0], add(block(part))))
    footer = add(block([])) + add(block(index))
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC


def shape(array: np.ndarray) -> bytes:
    return b"".join(message(2, number(1, length)) for length in array.shape)


def extents(region) -> bytes:
    """A slice as (start, length or None) of each dimension."""
    return b"".join(message(1, b"" if n is None else number(1, start) + number(2, n)) for start, n in region)


def halves(array: np.ndarray, parts: int):
    """The array in parts along its first axis: (region, values)."""
    whole = ((0, None),) * array.ndim
    if parts == 1 or array.ndim == 0 or len(array) < parts:
        return [(whole, array)]
    pieces = np.array_split(array, parts)
    starts = np.cumsum([0, *(len(piece) for piece in pieces)]).tolist()
    return [((((start, len(p)), *whole[1:])), p) for start, p in zip(starts, pieces, strict=False)]


# --- checkpoints ------------------------------------------------------------------------------------------------------


def write_v1(path: Path, variables, shards: int = 1, parts: int = 1, **options) -> list[Path]:
    files = [path] if shards == 1 else [path.with_name(f"{path.name}-{i:05d}-of-{shards:05d}") for i in range(shards)]
    for k, file in enumerate(files):
        listed, entries = b"", {}
        for name, array in variables.items():
            pieces = [piece for j, piece in enumerate(halves(array, parts)) if (j + len(name)) % shards == k]
            if not pieces:
                continue
            slices = b"".join(message(4, extents(region)) for region, _ in pieces)
            code = CODES[array.dtype.name]
            listed += message(1, message(1, name.encode()) + message(2, shape(array)) + number(3, code) + slices)
            for region, values in pieces:
                field = {1: 5, 2: 6}.get(code)
                raw = message(field, values.tobytes()) if field else message(7, b"".join(map(varint, values.ravel())))
                saved = message(1, name.encode()) + message(2, extents(region)) + message(3, number(1, code) + raw)
                entries[b"\0" + name.encode() + b"\0\1" + extents(region)] = message(2, saved)
        entries[b""] = message(1, listed + message(2, number(1, 1)))
        file.write_bytes(table(entries, **options))
    return files


def write_v2(prefix: Path, variables, shards: int = 1, parts: int = 1, suffix: str = "", **options) -> list[Path]:
    from hyper_bids.weights.tensorflow_checkpoint import slice_key

    data = [bytearray() for _ in range(shards)]
    entries = {b"": number(1, shards) + message(3, number(1, 1))}
    for j, (name, array) in enumerate(variables.items()):
        base = number(1, CODES[array.dtype.name]) + message(2, shape(array))
        pieces = halves(array, parts)
        for k, (region, values) in enumerate(pieces):
            shard, raw = (j + k) % shards, values.tobytes()
            place = number(3, shard) + number(4, len(data[shard])) + number(5, len(raw))
            place += varint(6 << 3 | 5) + struct.pack("<I", masked_crc(raw))
            data[shard] += raw
            if len(pieces) == 1:
                entries[(name + suffix).encode()] = base + place
            else:
                own = number(1, CODES[array.dtype.name]) + message(2, shape(values))
                entries[slice_key(name + suffix, region)] = own + place
        if len(pieces) > 1:
            entries[(name + suffix).encode()] = base + b"".join(message(7, extents(region)) for region, _ in pieces)
    files = [prefix.with_name(f"{prefix.name}.data-{k:05d}-of-{shards:05d}") for k in range(shards)]
    for file, content in zip(files, data, strict=True):
        file.write_bytes(content)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(entries, **options))
    return [index, *files]
