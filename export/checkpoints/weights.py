"""Options of reading a checkpoint's weights, for what the file itself leaves open."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.dialects import NamedParameters, canonical_parameters
from r2p_edge.export.checkpoints.head_file import MODULE, names_head_file, read_head_file
from r2p_edge.export.checkpoints.heads import HeadActivation
from r2p_edge.export.checkpoints.read import Checkpoint

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")  # as Hugging Face's libraries name them


class WeightsOptions(NamedTuple):
    """Choices where a checkpoint has several meanings.

    Attributes:
        key: place of the weights in a PyTorch file with several sets; see `read_checkpoint`.
        family: name of the family of networks, where several have these names and shapes.
        hints: families that the chosen preset, or the registry of published weights, is for.
        bn_eps: epsilon of all batch norms, which weights do not hold.
        head: module of the classifier, where there are several; its layers, with commas; or a file
            of one, see `read_head_file`.
        head_activation: function between the layers of a classifier.
        id: ID of published weights.
        settled: whether a golden pair is compared, which settles in what the network differs.
    """

    key: str | None = None
    family: str | None = None
    hints: tuple[str, ...] = ()
    bn_eps: float | None = None
    head: str | None = None
    head_activation: HeadActivation | None = None
    id: str | None = None
    settled: bool = False

    def named(self, checkpoint: Checkpoint) -> NamedParameters:
        """Return a checkpoint's parameters under canonical names; see `canonical_parameters`.

        Raises:
            CheckpointError: besides, the network differs from its family's in what weights do not
                say, and no golden pair settles it.
            ModelError: the file of a classifier cannot be read, see `read_head_file`.
        """
        record = (checkpoint.recorded and checkpoint.recorded.source) or {}
        parameters, head, added = checkpoint.parameters, self.head, None
        if head is not None and names_head_file(head):
            read = read_head_file(Path(head))
            parameters, head, added = {**parameters, **read.parameters}, MODULE, read.record
        try:
            named = canonical_parameters(
                parameters,
                self.family,
                (record["dialect"],) if "dialect" in record else self.hints,
                layers=checkpoint.layers,
                bn_eps=record.get("bn_eps") if self.bn_eps is None else self.bn_eps,
                head=head,
                head_activation=self.head_activation or record.get("head_activation"),
            )
            if named.differs and not self.settled:
                raise CheckpointError(
                    f"{named.differs}; {ADVICE}, or settle it with --golden FILE.npz"
                )
        except CheckpointError as error:
            reason = str(error)
            if part := _SHARD.search(checkpoint.file):
                reason = (
                    f"the file is part {int(part[1])} of {int(part[2])} of a network; put them "
                    "together, such as with safetensors' load_file of each and one save_file of "
                    "all their tensors, and give that"
                )
            raise CheckpointError(f"checkpoint {checkpoint.file}: {reason}") from error
        return replace(named, file=checkpoint.file, head_file=added)
