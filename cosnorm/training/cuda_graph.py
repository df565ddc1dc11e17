"""A step recorded once as a CUDA graph and replayed: hundreds of launches become one."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from cosnorm.training.step import Steps

#: Steps made before recording, so that libraries choose their kernels and workspaces.
WARM_UP = 3
# Recording forbids some calls in other threads, so one thread records at a time.
_RECORDING = threading.Lock()


class CapturedStep:
    """One step as a CUDA graph, for batches of one size.

    Make one after ``steps.begin_epoch()``, from any batch ``(R, B)`` of the size to record. Recording leaves
    the training state as it was.
    """

    def __init__(self, steps: Steps, indices: Tensor) -> None:
        self.indices = indices.clone()
        self.graph = torch.cuda.CUDAGraph()
        generators = [state.mask_generator for state in steps.states if state.dropouts]
        with _RECORDING:
            tensors = [(tensor, tensor.detach().clone()) for tensor in steps.tensors()]
            generator_states = [generator.get_state() for generator in generators]
            self._warm_up(steps)
            for generator in generators:
                self.graph.register_generator_state(generator)
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                steps.step(self.indices)
            with torch.no_grad():
                for tensor, saved in tensors:
                    tensor.copy_(saved)
            for generator, saved in zip(generators, generator_states, strict=True):
                generator.set_state(saved)
            torch.cuda.synchronize()

    def _warm_up(self, steps: Steps) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                steps.step(self.indices)
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self, indices: Tensor) -> None:
        """Make the step on other examples."""
        self.indices.copy_(indices)
        self.graph.replay()
