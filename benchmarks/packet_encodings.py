"""Which encoding of samples makes small packets that decode fast: ``python benchmarks/packet_encodings.py``.

Pulses are what a 14-bit digitiser at 200 MS/s gives behind a liquid scintillator: a baseline of its own per channel,
white noise, a sum of decaying exponentials.  Every encoding is undone by the kind of loop that psdbatch would use, with
the decompressed packet still in the cache, and by one thread.  Figures are GB of *samples* per second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import zstandard

from psdbatch.acquisition.packet_codec import encode
from psdbatch.acquisition.packet_kernels import BIAS, running_sum

SIGNALS = 60_000
Array = np.ndarray[Any, Any]


def pulses(signals: int, samples: int, noise: float, seed: int = 1) -> Array:
    """Simulated raw signals, int16, shape ``(signals, samples)``; ``noise`` in ADC units (standard deviation)."""
    random = np.random.default_rng(seed)
    time_axis = np.arange(samples) - 16.0
    rise = np.where(time_axis > 0, 1 - np.exp(-time_axis / 1.5), 0)
    slow = random.uniform(0.05, 0.25, (signals, 1))
    shape = rise * ((1 - slow) * np.exp(-time_axis / 6) + slow * np.exp(-time_axis / 30))
    amplitude = np.minimum(random.exponential(900, (signals, 1)) + 60, 7800)
    baseline = 8000 + random.integers(-150, 150, 64)[random.integers(0, 64, (signals, 1))]
    values = baseline - amplitude * shape / shape.max(1, keepdims=True) + random.normal(0, noise, shape.shape)
    return np.clip(np.rint(values), 0, 16383).astype(np.int16)


def zigzag(values: Array) -> Array:
    """Small numbers of either sign become small unsigned ones."""
    return ((values << 1) ^ (values >> 15)).astype(np.uint16)


def planes(values: Array) -> bytes:
    """All low bytes, then all high bytes."""
    flat = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 2)
    return flat.T.tobytes()


def encode_plain(values: Array) -> bytes:
    return values.tobytes()


def encode_shuffle(values: Array) -> bytes:
    return planes(values)


def encode_baseline(values: Array) -> bytes:
    first = np.rint(values[:, :8].mean(1)).astype(np.int16)
    return first.tobytes() + planes(zigzag(values - first[:, None]))


def encode_delta(values: Array) -> bytes:
    return encode(values, "delta")


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def undo_plain(raw: Array, out: Array) -> None:
    out.view(np.uint8).reshape(-1)[:] = raw


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def undo_shuffle(raw: Array, out: Array) -> None:
    n, samples = out.shape
    size = n * samples
    for i in range(n):
        low, high, row = raw[i * samples : (i + 1) * samples], raw[size + i * samples :], out[i]
        for j in range(samples):
            row[j] = np.uint16(low[j]) | (np.uint16(high[j]) << np.uint16(8))


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def undo_baseline(raw: Array, out: Array) -> None:
    n, samples = out.shape
    first = raw[: 2 * n].view(np.uint16)
    low_plane, high_plane = raw[2 * n : 2 * n + n * samples], raw[2 * n + n * samples :]
    for i in range(n):
        low, high, row = low_plane[i * samples : (i + 1) * samples], high_plane[i * samples :], out[i]
        base = first[i]
        for j in range(samples):
            value = np.uint16(low[j]) | (np.uint16(high[j]) << np.uint16(8))
            row[j] = np.uint16(base + ((value >> np.uint16(1)) ^ np.uint16(np.uint16(0) - (value & np.uint16(1)))))


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def undo_delta_loop(raw: Array, out: Array) -> None:
    """The plain running sum, one sample after the other."""
    size = out.size
    low, high, flat = raw[:size], raw[size:], out.reshape(-1)
    last = np.uint16(0)
    for i in range(size):
        last = np.uint16(last + np.uint16(low[i]) + (np.uint16(high[i]) << np.uint16(8)) - BIAS)
        flat[i] = last


def undo_delta(raw: Array, out: Array) -> None:
    """The vectorised running sum that psdbatch uses."""
    running_sum(raw[: out.size], raw[out.size :], np.uint16(0), out.reshape(-1))


def encode_bits(values: Array) -> bytes:
    """Differences in groups of 16 samples, each with the bits that its largest needs: no zstd needed behind it."""
    n, samples = values.shape
    width = -(-samples // 16) * 16
    padded = np.zeros((n, width), np.uint16)
    padded[:, :samples] = zigzag(np.diff(values, axis=1, prepend=np.int16(0)))
    groups = padded.reshape(-1, 16)
    bits = np.ceil(np.log2(groups.max(1) + 1.0)).astype(np.uint8)
    body = np.zeros(int((bits.astype(int) * 2).sum()) + 8, np.uint8)
    pack_bits(groups, bits, body)
    return bits.tobytes() + body.tobytes()


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def pack_bits(groups: Array, bits: Array, body: Array) -> None:
    at = 0
    for g in range(len(groups)):
        held, filled = np.uint64(0), np.uint64(0)
        for j in range(16):
            held |= np.uint64(groups[g, j]) << filled
            filled += np.uint64(bits[g])
            while filled >= 8:
                body[at] = np.uint8(held & np.uint64(255))
                held >>= np.uint64(8)
                filled -= np.uint64(8)
                at += 1


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def undo_bits(raw: Array, out: Array) -> None:
    n, samples = out.shape
    groups = -(-samples // 16)
    at = n * groups
    for i in range(n):
        last = np.uint16(0)
        for g in range(groups):
            width = np.uint64(raw[i * groups + g])
            mask = (np.uint64(1) << width) - np.uint64(1)
            held, filled, byte = np.uint64(0), np.uint64(0), at
            for j in range(g * 16, min(samples, g * 16 + 16)):
                while filled < width:
                    held |= np.uint64(raw[byte]) << filled
                    filled += np.uint64(8)
                    byte += 1
                value = np.uint16(held & mask)
                held >>= width
                filled -= width
                last = np.uint16(last + ((value >> np.uint16(1)) ^ np.uint16(np.uint16(0) - (value & np.uint16(1)))))
                out[i, j] = last
            at += 2 * np.int64(width)


ENCODINGS: dict[str, tuple[Callable[[Array], bytes], Any]] = {
    "plain": (encode_plain, undo_plain),
    "shuffle": (encode_shuffle, undo_shuffle),
    "baseline+shuffle": (encode_baseline, undo_baseline),
    "delta, plain loop": (encode_delta, undo_delta_loop),
    "delta": (encode_delta, undo_delta),
    "delta+bits": (encode_bits, undo_bits),
}


def measure(
    values: Array, encoding: str, level: int | None, per_packet: int, rounds: int = 7
) -> tuple[float, float, float]:
    """Ratio, GB/s of zstd alone, GB/s of zstd and undoing; ``level`` None: no zstd."""
    encode, undo = ENCODINGS[encoding]
    compressor = zstandard.ZstdCompressor(level=level or 1)
    parts = [values[i : i + per_packet] for i in range(0, len(values), per_packet)]
    packets = [encode(part) if level is None else compressor.compress(encode(part)) for part in parts]
    decompressor = zstandard.ZstdDecompressor()
    workspace = np.empty(max(len(encode(part)) for part in parts), np.uint8)
    out = np.empty(values.shape, np.uint16)

    def decompress(packet: bytes) -> Array:
        if level is None:
            return np.frombuffer(packet, np.uint8)
        with decompressor.stream_reader(packet) as stream:
            return workspace[: stream.readinto(workspace)]

    def run(undoing: bool) -> float:
        start = time.perf_counter()
        for i, packet in enumerate(packets):
            raw = decompress(packet)
            if undoing:
                undo(raw, out[i * per_packet : (i + 1) * per_packet])
        return time.perf_counter() - start

    run(True)
    assert np.array_equal(out, values.view(np.uint16)), encoding
    alone = min(run(False) for _ in range(rounds))
    both = min(run(True) for _ in range(rounds))
    return (
        values.nbytes / sum(map(len, packets)),
        values.nbytes / max(alone, 1e-9) / 1e9 if level is not None else float("inf"),
        values.nbytes / both / 1e9,
    )


def main() -> None:
    """Print the tables."""
    print(
        f"{'samples':>7} {'noise':>5} {'encoding':<17} {'level':>5} {'ratio':>6} {'zstd':>6} {'all':>6} {'undo':>6}  GB/s"
    )
    for samples in (75, 232):
        for noise in (2.0, 4.0):
            values = pulses(SIGNALS, samples, noise)
            for encoding in ENCODINGS:
                for level in (None,) if encoding == "delta+bits" else (-1, 1, 2, 3):
                    ratio, alone, both = measure(values, encoding, level, (1 << 19) // (2 * samples))
                    undo = 1 / (1 / both - 1 / alone)
                    print(
                        f"{samples:7} {noise:5} {encoding:<17} {level!s:>5} {ratio:6.2f} {alone:6.2f} {both:6.2f} {undo:6.1f}",
                        flush=True,
                    )
    print(f"\n{'samples':>7} {'signals in a packet':>19} {'ratio':>6} {'zstd':>6} {'all':>6}")
    for samples in (75, 232):
        values = pulses(SIGNALS, samples, 3.0)
        for per_packet in [
            size // (2 * samples) for size in (1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22)
        ]:
            ratio, alone, both = measure(values, "delta", 1, per_packet)
            print(f"{samples:7} {per_packet:19} {ratio:6.2f} {alone:6.2f} {both:6.2f}", flush=True)


if __name__ == "__main__":
    main()
