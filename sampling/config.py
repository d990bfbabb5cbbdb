"""Where text is written. Free of heavy imports, so that help and completion are instant."""

from dataclasses import dataclass

from training.config import Device, Precision


@dataclass(kw_only=True, slots=True)
class SamplingRuntimeConfig:
    """Where, and how precisely."""

    device: Device = Device.auto
    precision: Precision = Precision.auto  # of the products with the maps in the blocks

    def problems(self) -> list[str]:
        if self.precision is Precision.fp16:
            return ["runtime.precision: expected auto, fp32 or bf16, got fp16"]
        return []
