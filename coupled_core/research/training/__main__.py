"""Retrains the miniature: `python -m coupled_core.research.training --work DIR [stage ...]`.

Stages, in order: vae, generator, clip, sam, classifier. Each resumes from its checkpoint in the
work folder, and writes its model into the package (or --output). Uses a GPU if there is one.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from coupled_core.miniature import miniature_folder
from coupled_core.research.training.classifier import train_classifier
from coupled_core.research.training.clip import train_clip
from coupled_core.research.training.data import SceneSet, render_scenes
from coupled_core.research.training.generator import train_generator
from coupled_core.research.training.sam import train_sam
from coupled_core.research.training.vae import train_vae

STEPS = {"vae": 1200, "generator": 6400, "clip": 650, "sam": 1300, "classifier": 900}
SCENES_SEED, JUDGES_SEED = 11, 12


def main() -> None:
    """Parse the command line and run the stages."""
    parser = argparse.ArgumentParser(prog="coupled_core.research.training", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="stage", help=f"of {', '.join(STEPS)} (default: all)"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for scenes and checkpoints"
    )
    parser.add_argument("--output", type=Path, default=miniature_folder("flux").parent)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--steps", type=int, help="steps of the one stage named (default: as shipped)"
    )
    args = parser.parse_args()
    unknown = set(args.stages) - set(STEPS)
    if unknown:
        parser.error(f"unknown stage {sorted(unknown)}: expected {', '.join(STEPS)}")
    args.work.mkdir(parents=True, exist_ok=True)
    for stage in args.stages or STEPS:
        started = time.monotonic()
        run_stage(
            stage, args.work, args.output, torch.device(args.device), args.steps or STEPS[stage]
        )
        print(f"{stage} done in {(time.monotonic() - started) / 60:.1f} min", flush=True)


def run_stage(
    stage: str, work_dir: Path, output: Path, device: torch.device, num_steps: int
) -> None:
    """Train one model and write it below `output`."""
    if stage == "vae":
        train_vae(_generator_scenes(work_dir), work_dir, num_steps, device).save_pretrained(
            work_dir / "vae"
        )
    elif stage == "generator":
        vae = AutoencoderKL.from_pretrained(work_dir / "vae").to(device)
        pipeline = train_generator(_generator_scenes(work_dir), vae, work_dir, num_steps, device)
        pipeline.to(torch.float16).save_pretrained(output / "flux")
        _hide_paths(output / "flux")
    else:
        trainer = {"clip": train_clip, "sam": train_sam, "classifier": train_classifier}[stage]
        trainer(_judges_scenes(work_dir), work_dir, num_steps, device, output / stage)


def _generator_scenes(work_dir: Path) -> SceneSet:
    return render_scenes(
        work_dir, "generator", 80_000, seed=SCENES_SEED, dependent=True, empty=0.15
    )


def _judges_scenes(work_dir: Path) -> SceneSet:
    return render_scenes(work_dir, "judges", 30_000, seed=JUDGES_SEED, dependent=False, empty=0.12)


def _hide_paths(folder: Path) -> None:
    """Take out of the configs which folder a part came from: a path of this machine."""
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
