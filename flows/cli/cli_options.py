"""The options of the commands: name, type, help; `flows.cli.options` maps them to settings."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_INPUT, _OUTPUT, _IMAGES, _SCORES, _RUN = "Input", "Output", "Images", "Scores", "Run"
_ATTEMPTS = "Best of several seeds"
_SPLIT = "Splitting prompts into background and entities"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


Prompts = Annotated[
    str | None,
    _option(
        _INPUT,
        "Prompt set: a Parquet file, a folder of them, or an s3:// location of either. "
        "Default: the example set of the package.",
    ),
]
OnBadRow = Annotated[
    Literal["fail", "quarantine"] | None,
    _option(
        _INPUT,
        "What to do about unusable rows: stop before anything is spent (default), "
        "or go on without them.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    _option(
        _INPUT,
        "Settings as JSON, such as the `config` in a snapshot; flags win over it.",
        "--config",
    ),
]
Splitter = Annotated[
    Literal["auto", "offline", "anthropic"] | None,
    _option(
        _SPLIT,
        "Who splits groups that are not split already: rules, or a language model. "
        "auto (default): anthropic where ANTHROPIC_API_KEY is set, else offline.",
    ),
]
SplitModel = Annotated[
    str | None, _option(_SPLIT, "Model of the Anthropic API. Default: claude-haiku-5-5.")
]
SplitTransport = Annotated[
    Literal["auto", "online", "batch"] | None,
    _option(
        _SPLIT,
        "online: seconds; batch: half the price, up to 24 hours. "
        "auto (default): batch from 1000 open groups on.",
    ),
]
SplitCache = Annotated[
    str | None,
    _option(
        _SPLIT,
        "Answers that are paid for: a folder or s3:// prefix that runs and workers share. "
        "Default: split-answers in the dataset.",
    ),
]
MaxLlmUsd = Annotated[
    float | None,
    _option(
        _SPLIT,
        "Stop before the run, all attempts together, can have spent more USD on the model; "
        "what is answered is kept.",
        min=0.0,
    ),
]
RefreshSplit = Annotated[
    bool | None,
    _option(_SPLIT, "Ask again where another run has an answer; replaces it.", "--refresh-split"),
]
Output = Annotated[
    str | None,
    _option(_OUTPUT, "Dataset: a folder or s3://BUCKET/PREFIX. Default: ./coupled-dataset."),
]
ShardSize = Annotated[
    int | None,
    _option(_OUTPUT, "Groups a shard, the unit of retry and of files. Default: 16.", min=1),
]
SingleWriter = Annotated[
    bool | None,
    _option(
        _OUTPUT,
        "Promise that nothing else writes there: for stores that ignore conditional writes.",
        "--single-writer",
    ),
]
StoreDropped = Annotated[
    bool | None,
    _option(
        _OUTPUT,
        "Store the images of dropped pairs, too, so that `coupled recut` can loosen thresholds.",
        "--store-dropped",
    ),
]
BaseModel = Annotated[
    str | None,
    _option(_IMAGES, "FLUX model: a Hugging Face id, a folder, or `miniature` (default, shipped)."),
]
Revision = Annotated[str | None, _option(_IMAGES, "Commit or tag of a Hugging Face model.")]
Schedule = Annotated[
    str | None, _option(_IMAGES, "Schedule file (JSON). Default: the base model's, shipped.")
]
CouplingMode = Annotated[
    Literal["log_bias", "key_scale", "region"] | None,
    _option(_IMAGES, "How images are coupled. Default: the schedule's, or the base model's."),
]
EntityText = Annotated[
    Literal["full_prompt", "entity_prompt"] | None,
    _option(_IMAGES, "What the entity stream reads. Default: full_prompt."),
]
Seed = Annotated[
    int | None,
    _option(_IMAGES, "Groups without a seed of their own derive theirs from it. Default: 0."),
]
Steps = Annotated[
    int | None, _option(_IMAGES, "Denoising steps. Default: the base model's.", min=1)
]
Width = Annotated[int | None, _option(_IMAGES, "Pixels. Default: the base model's.", min=16)]
Height = Annotated[int | None, _option(_IMAGES, "Pixels. Default: the base model's.", min=16)]
BatchSize = Annotated[
    int | None,
    _option(_IMAGES, "Groups denoised together; the most that a kill costs. Default: 8.", min=1),
]
Device = Annotated[str | None, _option(_IMAGES, "auto (default), cuda, cuda:N, mps or cpu.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"] | None,
    _option(_IMAGES, "auto (default): bfloat16 on CUDA, else float32."),
]
Offload = Annotated[
    Literal["none", "model", "sequential"] | None,
    _option(_IMAGES, "Keep idle model parts in main memory: slower, smaller. Default: none."),
]
SamModel = Annotated[
    str | None,
    _option(
        _SCORES,
        "Segment Anything: `miniature` (default), or TYPE:CHECKPOINT, vit_h:sam_vit_h_4b8939.pth.",
    ),
]
ClipModel = Annotated[
    str | None,
    _option(
        _SCORES,
        "open_clip: `miniature` (default), ARCHITECTURE:PRETRAINED, hf-hub:ID or local-dir:FOLDER.",
    ),
]
MinCombined = Annotated[
    float | None,
    _option(
        _SCORES,
        "Drop pairs whose combined metric is lower; they stay in the manifest. "
        "Default: 1.0, or what suits the CLIP of the miniature.",
    ),
]
ContentFilter = Annotated[
    str | None,
    _option(
        _SCORES,
        "Concepts that no kept image may show: a JSON file, or `off`. Default: the shipped list; "
        "off with the miniature's CLIP, which knows none of them.",
        metavar="FILE|off",
    ),
]
DropDuplicates = Annotated[
    bool | None,
    _option(
        _SCORES,
        "Drop new pairs that duplicate one of the dataset, or a better new one (default).",
        "--drop-duplicates/--keep-duplicates",
    ),
]
Attempts = Annotated[
    int | None,
    _option(
        _ATTEMPTS,
        "Most seeds to try in the place of each requested one: groups that lack kept pairs are "
        "tried again, round by round. Default: 1.",
        min=1,
        max=1000,
    ),
]
Quota = Annotated[
    int | None,
    _option(
        _ATTEMPTS,
        "Most pairs to keep of each two prompts of a group: the best by the combined metric. "
        "Default: as many as seeds are requested.",
        min=1,
    ),
]
EarlyStop = Annotated[
    bool | None,
    _option(
        _ATTEMPTS,
        "Whether groups whose quota is met are done (default), or every attempt is made and the "
        "best of all is kept.",
        "--early-stop/--no-early-stop",
    ),
]
AsJson = Annotated[
    bool, _option(_RUN, "Print one JSON document and nothing else on standard output.", "--json")
]
Verbose = Annotated[bool, _option(_RUN, "Show what every task logs.", "--verbose", "-v")]
Debug = Annotated[bool, _option(_RUN, "Show tracebacks.", "--debug")]
