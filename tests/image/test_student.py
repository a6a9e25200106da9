"""The student's shapes and sizes are the paper's, to the unit."""

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.image.backbones import ARCHITECTURES, Tap, build
from limbeck.image.student import Student, depths_of

# Millions of parameters of fusion with embedding, of the fusion alone, and of the decoder, counted from the authors'
# layer table: convolutions without bias, two numbers for each normalised channel.
SIZES = {
    "wide_resnet50_2": (58.885, 10.622, 24.918),
    "resnet50": (30.830, 10.622, 15.822),
    "resnet34": (16.401, None, 5.771),
    "resnet18": (11.680, None, 3.703),
}


def student_of(name, **values):
    architecture = ARCHITECTURES[name]
    taps = tuple(t for t in architecture.taps if t.name in architecture.default_taps)
    with torch.device("meta"):
        return taps, Student(taps, architecture.block, architecture.inner, depths_of(architecture, len(taps)), **values)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_papers(name):
    _, student = student_of(name)
    embedding, fusion, decoder = SIZES[name]
    assert round((count(student.fusion) + count(student.embedding)) / 1e6, 3) == embedding
    assert round(count(student.decoder) / 1e6, 3) == decoder
    if fusion:
        assert round(count(student.fusion) / 1e6, 3) == fusion
    assert count(student) == count(student.fusion) + count(student.embedding) + count(student.decoder), "dead weights"


def test_the_squeeze_of_the_figure_is_an_option():
    _, student = student_of("wide_resnet50_2", squeeze=True)
    fused, half = 3072, 1536
    assert count(student.squeeze) == fused * half + 2 * half


@pytest.mark.parametrize(
    ("name", "size", "code"),
    [("resnet18", 256, (512, 8, 8)), ("resnet18", 32, (512, 1, 1)), ("resnet50", 64, (2048, 2, 2))],
)
def test_shapes(name, size, code):
    taps, student = student_of(name)
    with torch.device("meta"):
        features = [torch.zeros(2, t.channels, size // t.stride, size // t.stride) for t in taps]
        assert student.fuse(features).shape == (2, 3 * taps[-1].channels, size // 16, size // 16)
        assert student.embedding(student.fuse(features)).shape == (2, *code)
        assert [f.shape for f in student(features)] == [f.shape for f in features]


def test_a_code_may_keep_the_deepest_size():
    taps, student = student_of("resnet18", halved=False)
    with torch.device("meta"):
        features = [torch.zeros(2, t.channels, 64 // t.stride, 64 // t.stride) for t in taps]
        assert student.embedding(student.fuse(features)).shape == (2, 512, 4, 4)
        assert [f.shape for f in student(features)] == [f.shape for f in features]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_backbone_has_a_student(name):
    """From the description alone: whatever taps a backbone has by default, the student gives them back."""
    taps, student = student_of(name)
    with torch.device("meta"):
        features = [torch.zeros(2, t.channels, 64 // t.stride, 64 // t.stride) for t in taps]
        assert [f.shape for f in student(features)] == [f.shape for f in features]


@pytest.mark.parametrize("strides", [(4, 16), (8, 8), (4, 8, 8, 32), (16,)])
def test_strides_may_jump_or_stay(strides):
    taps = [Tap(str(i), 8 * (i + 1), s) for i, s in enumerate(strides)]
    student = Student(taps, depths=(1,) * (len(taps) + 1))
    features = [torch.rand(2, t.channels, 64 // t.stride, 64 // t.stride) for t in taps]
    assert [f.shape for f in student(features)] == [f.shape for f in features]


def test_strides_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="4, then 12"):
        Student([Tap("a", 8, 4), Tap("b", 8, 12)])


def test_only_signed_students_give_negative_features():
    taps = [Tap("a", 8, 4), Tap("b", 16, 8)]
    features = [torch.randn(4, 8, 8, 8), torch.randn(4, 16, 4, 4)]
    torch.manual_seed(0)
    assert all((f >= 0).all() for f in Student(taps, depths=(1, 1, 1))(features))
    assert all((f < 0).any() for f in Student(taps, depths=(1, 1, 1), signed=True)(features))


def test_depths_follow_the_authors_code():
    assert depths_of(ARCHITECTURES["wide_resnet50_2"], 3) == (3, 3, 4, 6)
    assert depths_of(ARCHITECTURES["resnet18"], 3) == (2, 2, 2, 2)


def test_the_backbone_ends_at_its_last_tap():
    """The stage that the authors' code computes and throws away is not even built."""
    assert not any(key.startswith("layer4") for key in build("resnet18").state_dict())
