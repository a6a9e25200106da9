"""The methods by name. Imports neither torch nor numpy, so that a command line can list them at once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True)
class Method:
    """Where a method lives and what it learns from."""

    source: str  # the kind of source: "table" | "pictures"
    labels: bool  # whether it needs labels
    distiller: str  # "module:Class"
    config: str  # "module:Class" of its frozen dataclass, readable without torch
    summary: str
    teacher: bool = False  # whether it needs one, beside the source: `limbeck.distil`
    dirty: bool = False  # whether anomalies may hide among what it learns from


METHODS: dict[str, Method] = {
    "multi-teacher": Method(
        source="table",
        labels=True,
        distiller="limbeck.tabular.multi_teacher:MultiTeacher",
        config="limbeck.tabular.config:MultiTeacherConfig",
        summary="a table with labels: many teachers on differently resampled data, one small student",
    ),
    "committee": Method(
        source="table",
        labels=False,
        distiller="limbeck.tabular.committee:OutlierCommittee",
        config="limbeck.tabular.config:CommitteeConfig",
        summary="a table without labels: five detectors of different views, one small student",
    ),
    "distilled": Method(
        source="table",
        labels=False,
        teacher=True,
        distiller="limbeck.tabular.distilled:AnyTeacher",
        config="limbeck.tabular.config:FollowerConfig",
        summary="a table and any detector, or its stored scores: one small student (limbeck distil)",
    ),
    "reverse-distillation": Method(
        source="pictures",
        labels=False,
        distiller="limbeck.image.reverse_distillation:ReverseDistillation",
        config="limbeck.image.config:ReverseDistillationConfig",
        summary="pictures of good parts: a decoder re-creates a frozen encoder's features from a one-class code",
    ),
    "residual-attention": Method(
        source="pictures",
        labels=False,
        distiller="limbeck.image.residual_attention:ResidualAttention",
        config="limbeck.image.config:ResidualAttentionConfig",
        summary="pictures of good parts: a student goes its frozen teacher's way, and gates what it sees",
    ),
    "compact": Method(
        source="pictures",
        labels=False,
        teacher=True,
        distiller="limbeck.image.compact:Compact",
        config="limbeck.image.config:CompactConfig",
        summary="pictures of good parts and any detectors of them: one small student (limbeck distil --budget)",
    ),
    "cross-domain": Method(
        source="pictures",
        labels=False,
        dirty=True,
        distiller="limbeck.image.cross_domain:CrossDomain",
        config="limbeck.image.config:CrossDomainConfig",
        summary="pictures of which some are bad, unknown which: students of domains teach one of them all",
    ),
}
