"""Cross-domain distillation: a dirty training set, no label, and one student that learns what is normal in all of it.

The pictures are divided into domains with fewer anomalies, each with a student of reverse distillation. A student that
never saw an anomaly re-creates something normal in its place: what such students make of a suspect, its pseudo-normal
features, is what the global student is to re-create. Suspect is a picture in which they find something strange that
hardly any other picture has. Students that saw a picture and students that never did also say, by how alike they rank
the pictures, whether a narrow code will do, and whether their word is to be heeded at all. The pictures that are least
suspect say what is usual. The students of the domains are then thrown away; what is left costs what reverse
distillation costs.

Liu et al., "Fully unsupervised anomaly detection via cross-domain distillation", 2025, arXiv 2508.18007, of which the
abstract alone could be had: what it leaves open is a reconstruction, and a field of `CrossDomainConfig`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, final

from limbeck.contracts import Artefact, Distiller, Items, OnStep, ignore
from limbeck.errors import ConfigError
from limbeck.image.config import CrossDomainConfig
from limbeck.image.course import REDIVIDED, Course
from limbeck.image.matching import distil
from limbeck.image.reverse_distillation import ReverseDistillationModel, build_model, teacher_within

__all__ = ["CrossDomain", "build_domain_models", "build_narrow_model"]

METHOD = "cross-domain"
AT_ONCE = 32  # pictures


def build_domain_models(model: ReverseDistillationModel, config: CrossDomainConfig, *, seed: int) -> list[Any]:
    """Build a student for each domain, beside the global one's teacher.

    Parameters
    ----------
    model : ReverseDistillationModel
        The global student, and the teacher.
    config : CrossDomainConfig
        Every knob.
    seed : int
        Of the first weights; each student has others.

    Returns
    -------
    list of ReverseDistillationModel
        One a domain.
    """
    changes: dict[str, Any] = {}
    if config.domain_students == "small":
        changes = {"halved": "yes", "blocks": ("1",) * (len(model.teacher.taps) + 1)}
    own = replace(config, **changes)
    return [build_model(own, seed=seed * 1009 + 1 + k, teacher=model.teacher) for k in range(config.domains)]


def build_narrow_model(
    model: ReverseDistillationModel, config: CrossDomainConfig, *, seed: int
) -> ReverseDistillationModel | None:
    """Build a global student of one narrow code, beside the wide one's teacher.

    Parameters
    ----------
    model : ReverseDistillationModel
        The wide one, and the teacher.
    config : CrossDomainConfig
        Every knob.
    seed : int
        Of the first weights.

    Returns
    -------
    ReverseDistillationModel or None
        None where none is asked for, the size of the code is set by hand, or nothing could tell which one is needed.
    """
    tells = config.order == "first" and config.policy not in REDIVIDED
    by_hand = config.preset != "full" or config.code or config.halved != "auto"
    if not config.narrow or by_hand or not tells:
        return None
    own = replace(config, preset="light", code=config.narrow, halved="yes")
    return build_model(own, seed=seed, teacher=model.teacher)


@final
class CrossDomain(Distiller):
    """`cross-domain`: pictures of which some are anomalous, nobody knows which; an artefact out.

    Parameters
    ----------
    config : CrossDomainConfig
        Every knob.
    """

    def __init__(self, config: CrossDomainConfig) -> None:
        self.config = config

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from pictures; see `Distiller.fit`."""
        if self.config.judge == "global" and self.config.order == "first":
            raise ConfigError(
                "the global student cannot judge before it has learned",
                expected="judge=rare, outside or memory, or order=turns",
                got="judge=global with order=first",
            )
        teacher = teacher_within(self.config, items, seed=seed, on_step=on_step)
        model = build_model(self.config, seed=seed, teacher=teacher)
        narrow = build_narrow_model(model, self.config, seed=seed)
        course = Course(build_domain_models(model, self.config, seed=seed), self.config, narrow)
        artefact = distil(
            model, items, method=METHOD, seed=seed, workdir=workdir, on_step=on_step, learn=course.run, foot=course.foot
        )
        facts: dict[str, Any] = {"domains": course.history}
        if self.config.judge == "rare" and course.heeded:
            rare = items.subset(course.learned[course.suspected])
            facts["rare"] = [str(id) for batch in rare.batches(AT_ONCE) for id in batch.id]
        if course.agreement is not None:
            found = "narrow: pictures rank alike"
            if not course.heeded:
                found = "wide, and suspects were told nothing: pictures rank otherwise"
            note = (
                f"the global student's code is {found} by students that saw them and by students that never did (rank "
                f"correlation {course.agreement:.3f}; alike from {self.config.alike:g} on)"
            )
            facts |= {"agreement": course.agreement, "notes": [*artefact.training["notes"], note]}
        return replace(artefact, training=artefact.training | facts)
