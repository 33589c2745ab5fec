"""What can be exported, in words; imports nothing, so that help texts are quick."""

from collections.abc import Mapping

FORMATS: Mapping[str, str] = {
    "diffusers-instruct-pix2pix": "Parquet for diffusers' train_instruct_pix2pix",
    "diffusers-instruct-pix2pix-folder": "the same as an ImageFolder with metadata.parquet",
    "diffusers-kontext": "Parquet for diffusers' Kontext LoRA and FLUX control trainers",
    "ai-toolkit": "folders of targets with captions, and of sources with equal stems",
    "musubi-tuner": "JSONL and TOML for FLUX.1 Kontext, FLUX.2, Qwen-Image-Edit in musubi-tuner",
    "musubi-framepack": "JSONL and TOML for FramePack one-frame training in musubi-tuner",
    "diffsynth": "JSONL with paths relative to a base, for DiffSynth-Studio",
    "simpletuner": "two backends with equal file names and Parquet metadata, for SimpleTuner",
    "diffusion-pipe": "targets with captions.json, sources with equal stems, TOML",
    "webdataset": "tar shards of KEY.input.png, KEY.output.png, KEY.json",
    "huggingface": "Parquet with all columns, a dataset card and Croissant metadata",
    "flf2v": "first and last frames of videos (variations of one entity, not swaps)",
    "card": "the dataset card alone: README.md with a YAML header",
    "croissant": "Croissant 1.1 JSON-LD of the dataset's own parts, with checksums",
}
"""Every format by the name that `coupled export` takes."""
