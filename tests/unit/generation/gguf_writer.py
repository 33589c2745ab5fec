"""Writes a transformer's weights as others do who quantise them to a file."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def write_gguf(path: Path, weights: Mapping[str, Tensor]) -> Path:
    """Write matrices in Q8_0 where their rows divide into its blocks, all else in float32."""
    import gguf

    writer, kind = gguf.GGUFWriter(path, "flux"), gguf.GGMLQuantizationType.Q8_0
    for name, tensor in weights.items():
        rows = tensor.float().numpy()
        if rows.ndim == 2 and rows.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(rows, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
