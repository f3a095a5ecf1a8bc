"""What a graphics card can do at best, measured, and what that leaves a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.inference import networks
from tests.benchmarks.inference.ways import Files

#: Side of the matrices, and bytes copied: large enough that nothing but the card counts.
SIDE, BYTES = 8192, 2**30
REPEATS = 20


def limits(files: Files, batches: Sequence[int]) -> str:
    """The least time of a call by the card's fp16 products and by its memory, in lines of Markdown; none without one.

    A call does the network's multiplications, and reads its weights once.
    """
    if not torch.cuda.is_available():
        return ""
    half = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.float16)
    flops = 2 * SIDE**3 / _seconds(lambda: half @ half)
    one, other = (torch.empty(BYTES, dtype=torch.uint8, device="cuda") for _ in range(2))
    bandwidth = 2 * BYTES / _seconds(lambda: other.copy_(one))
    work, weights = demand(files)
    lines = [
        f"- {torch.cuda.get_device_name()}: {flops / 1e12:.0f} TFLOP/s in fp16 products, {bandwidth / 1e12:.2f} TB/s",
        f"- the network: {work / 1e9:.2f} GFLOP a slice, {weights / 1e6:.0f} MB of weights in fp16",
    ]
    for batch in batches:
        least = max(batch * work / flops, weights / bandwidth)
        lines.append(f"- {batch} a call: {1000 * least:.3f} ms at the least")
    return "\n".join([*lines, ""])


def demand(files: Files) -> tuple[int, int]:
    """Floating-point operations of one slice, and bytes of the weights in fp16."""
    network = networks.network(*files.make)
    size = int(files.make[-1])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, size, size, dtype=torch.uint8), torch.ones(1, 1))
    return counter.get_total_flops(), 2 * sum(parameter.numel() for parameter in network.parameters())


def _seconds(work: Callable[[], object]) -> float:
    """Of one of many, after some that warm up."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(REPEATS):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / REPEATS
