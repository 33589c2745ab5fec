"""Aligns the tokens of two prompts, and says whose attention each target token takes over."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenMap:
    """Correspondence of source and target text tokens, one a row of the batch.

    Where both prompts are the same, the identity.
    """

    from_source: Tensor
    """(B, S_txt, S_txt): share of source token s's attention that target token t takes over, in
    [0, 1]."""
    keeps_own: Tensor
    """(B, S_txt): 1 for target tokens without counterpart, which keep their attention, else 0."""

    @classmethod
    def stack(cls, maps: Sequence["TokenMap"]) -> "TokenMap":
        """Join rows to a batch."""
        return cls(
            torch.cat([one.from_source for one in maps]), torch.cat([one.keeps_own for one in maps])
        )

    def to(self, device: torch.device) -> "TokenMap":
        """Return the map on a device."""
        return TokenMap(self.from_source.to(device), self.keeps_own.to(device))


def align_tokens(source: Sequence[int], target: Sequence[int], num_tokens: int) -> TokenMap:
    """Align two prompts as Prompt-to-Prompt does for word swaps and refinements.

    Equal tokens correspond. So do replaced stretches: token by token where they are equally long,
    else each target token takes an equal share of every source token, and attention is neither
    lost nor gained. Inserted tokens keep their own attention. FLUX attends to padding, so pads
    correspond too, in order.

    Args:
        source: token ids without padding, at most `num_tokens`.
        target: likewise.
        num_tokens: length of the padded text stream, S_txt.

    Returns:
        A map of batch size 1, float32 on the CPU.
    """
    from_source, keeps_own = torch.zeros(num_tokens, num_tokens), torch.ones(num_tokens)
    matcher = SequenceMatcher(None, list(source), list(target), autojunk=False)
    num_pads = num_tokens - max(len(source), len(target))
    pads = ("equal", len(source), len(source) + num_pads, len(target), len(target) + num_pads)
    for kind, s_first, s_last, t_first, t_last in [*matcher.get_opcodes(), pads]:
        num_source, num_target = s_last - s_first, t_last - t_first
        if kind in ("insert", "delete"):
            continue
        shares = (
            torch.eye(num_source)
            if num_source == num_target
            else torch.full((num_source, num_target), 1 / num_target)
        )
        from_source[s_first:s_last, t_first:t_last] = shares
        keeps_own[t_first:t_last] = 0.0
    return TokenMap(from_source.unsqueeze(0), keeps_own.unsqueeze(0))
