"""Where the parts of a base model are: on the device, or beside it while they are not in use."""

from diffusers import DiffusionPipeline

from coupled_core.models.memory import is_out_of_memory


class PlacedPipeline:
    """A pipeline on its device, which can be asked for room there."""

    def __init__(self, pipeline: DiffusionPipeline, device: str, offload: str) -> None:
        """Place it, as far off the device as it takes where `offload` is auto.

        Args:
            pipeline: Loaded into main memory.
            device: As torch names it.
            offload: none, model, sequential or auto.
        """
        self.pipeline, self._device = pipeline, device
        may_move = offload == "auto" and not device.startswith("cpu")
        self._steps = ["model", "sequential"] if may_move else []
        """What can still be done, in order."""
        try:
            self._place("none" if offload == "auto" else offload)
        except Exception as error:
            if not is_out_of_memory(error) or self.free_more() is None:
                raise

    def free_more(self) -> str | None:
        """Move more of it off the device; return the option that does so; None: nothing is left."""
        while self._steps:
            offload = self._steps.pop(0)
            try:
                self._place(offload)
            except Exception as error:
                if not (self._steps and is_out_of_memory(error)):
                    raise
            else:
                return f"--offload {offload}"
        return None

    def _place(self, offload: str) -> None:
        if offload == "model":
            self.pipeline.enable_model_cpu_offload(device=self._device)
        elif offload == "sequential":
            self.pipeline.enable_sequential_cpu_offload(device=self._device)
        else:
            self.pipeline.to(self._device)
