"""Graphs with state against PyTorch's convolutions over a whole stream."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from dilated import dilated, later_stages, stage_features
from networks import small_network

from r2p_edge.export.graph.per_frame.forms import per_frame_form, semi_causal_form
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.per_frame_run import PerFrameRun

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # the network is small


CLOSE = 1e-5  # of the largest value


def check_close(found, wanted):
    wanted = np.asarray(wanted)
    assert np.abs(found - wanted).max() <= CLOSE * np.abs(wanted).max()


@pytest.fixture(scope="module")
def whole(network):
    return dilated(network)


@pytest.fixture(scope="module", params=[0, 1, 2])
def stages(request):
    return request.param


@pytest.fixture(scope="module")
def form(model, spec, stages):
    return per_frame_form(model, spec, stages)


@pytest.mark.parametrize("name", ["head", "tail", "flush"])
def test_every_part_is_a_model_of_its_own(form, name):
    onnx.checker.check_model(form.parts[name], full_check=True)


def test_the_head_is_the_dilated_network_from_the_first_frame_on(
    form, stages, whole, pixels, stream
):
    run = PerFrameRun(form, 16)
    with torch.no_grad():
        wanted = stage_features(whole, pixels, stages).numpy()[0].swapaxes(0, 1)
    assert len(stream) == 130
    for tick, frame in enumerate(stream):
        run.step(frame)
        if tick >= form.delay:
            found = run.slice(form.feature, 0)[0]
            assert np.abs(found - wanted[tick - form.delay]).max() <= CLOSE * np.abs(wanted).max()


def test_frames_before_the_first_are_no_frames(model, spec, whole, pixels, stream):
    """Without the gate the biases of empty frames would be in the state."""
    form = per_frame_form(model, spec, 2)
    with torch.no_grad():
        wanted = stage_features(whole, pixels[:, :, :40], 2).numpy()[0].swapaxes(0, 1)
    open_gate = form._replace(
        rings=tuple(type(ring)(**{**vars(ring), "gate": 0}) for ring in form.rings)
    )
    worst = []
    for each in (form, open_gate):
        run, found = PerFrameRun(each, 16), []
        for tick, frame in enumerate(stream[:40]):
            run.step(frame)
            if form.delay <= tick < 2 * form.delay:
                found.append(np.abs(run.slice("layer2.0", 0)[0] - wanted[tick - form.delay]).max())
        worst.append(max(found) / np.abs(wanted).max())
    assert worst[0] <= CLOSE < worst[1]


def test_an_answer_that_waits_sees_the_streams_features(
    form, stages, network, whole, pixels, stream
):
    run, checked = PerFrameRun(form, 16), 0
    for tick, frame in enumerate(stream[:70]):
        run.step(frame)
        first = tick - form.wait - 15  # of the window that ended so many ticks ago
        if first >= 0 and tick % 9 == 0:
            with torch.no_grad():
                x = stage_features(whole, pixels, stages)[:, :, first : first + 16 : form.step]
                wanted = later_stages(network, x, stages)[0].numpy()
            check_close(run.answer("wait"), wanted)
            checked += 1
    assert checked >= 4


def test_an_answer_that_does_not_wait_sees_zeros_after_its_last_frame(
    form, stages, network, whole, pixels, stream
):
    run, checked = PerFrameRun(form, 16), 0
    for tick, frame in enumerate(stream[:70]):
        run.step(frame)
        if tick >= 15 and tick % 9 == 0:
            with torch.no_grad():
                x = stage_features(whole, pixels[:, :, : tick + 1], stages)
                wanted = later_stages(network, x[:, :, tick - 15 :: form.step], stages)[0].numpy()
            check_close(run.answer("flush"), wanted)
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize("frames", [5, 8, 16, 23])
def test_the_first_window_has_the_clips_own_answer(longer, network, pixels, stream, count, frames):
    """Zeros on both sides; also where a clip ends between two positions, or is short."""
    spec = longer(frames)
    model = small_network(spec)
    run = PerFrameRun(per_frame_form(model, spec, count), frames)
    for frame in stream[:frames]:
        run.step(frame)
    found = run.answer("flush")
    with torch.no_grad():
        check_close(found, network(pixels[:, :, :frames])[0].numpy())
    (clip,) = open_session(model.SerializeToString()).run(None, {"frames": stream[None, :frames]})
    check_close(found, clip[0])


def test_a_reset_forgets_everything(form, stream):
    run = PerFrameRun(form, 16)
    answers = []
    for start in (0, 60, 0):
        run.reset()
        for frame in stream[start : start + 16]:
            run.step(frame)
        answers.append(run.answer("flush"))
    assert np.array_equal(answers[0], answers[2])
    assert not np.array_equal(answers[0], answers[1])


def test_windows_of_several_cameras_go_through_the_tail_at_once(form, stream):
    runs = [PerFrameRun(form, 16) for _ in range(3)]
    for number, run in enumerate(runs):
        for frame in stream[number * 20 : number * 20 + 16]:
            run.step(frame)
    together = runs[0].answers([run.features("flush") for run in runs])
    check_close(together, np.stack([run.answer("flush") for run in runs]))


def test_a_ring_is_never_read_and_written_at_once(form):
    for ring in form.rings:
        ages = [age for each in ring.delays.values() for age in each]
        assert ring.slots > max(ages)
        assert all(age > 0 for age in ring.delays.get("head", ()))


def test_the_graph_of_a_tick_has_no_axis_of_time(form):
    head = onnx.shape_inference.infer_shapes(form.parts["head"]).graph
    values = [*head.input, *head.value_info, *head.output]
    assert {len(value.type.tensor_type.shape.dim) for value in values} == {4}
    assert not any(node.op_type in ("Unsqueeze", "Squeeze", "Reshape") for node in head.node)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_the_semi_causal_form_is_the_causal_network(model, spec, network, pixels, stream, count):
    form = semi_causal_form(model, spec, count)
    onnx.checker.check_model(form.parts["step"], full_check=True)
    with torch.no_grad():
        x = stage_features(dilated(network, causal_from=count), pixels, 4)
        wanted = network.fc(x.mean((3, 4))[0].T).numpy()
    run = PerFrameRun(form, 16)
    for tick, frame in enumerate(stream):
        found = run.step(frame)
        if tick >= form.delay:
            check_close(found[0], wanted[tick - form.delay])
    assert form.delay == (1, 3, 6, None, 24)[count]


def test_the_semi_causal_form_takes_weights_that_were_trained_for_it(
    model, spec, network, pixels, stream
):
    causal = dilated(network, causal_from=1)
    rng = np.random.default_rng(0)
    name = "layer3.0.conv2.conv2"
    conv = causal.layer3[0].conv2.conv2.conv
    drawn = rng.normal(0, 0.2, conv.weight.shape).astype(np.float32)
    norm = causal.layer3[0].bn2
    head = rng.normal(0, 1, network.fc.weight.shape).astype(np.float32)
    with torch.no_grad():
        conv.weight[:] = torch.from_numpy(drawn)
        norm.running_mean[:], norm.running_var[:] = 0, 1 - norm.eps
        norm.weight[:], norm.bias[:] = 1, 0
        causal.fc.weight[:] = torch.from_numpy(head)
        x = stage_features(causal, pixels, 4)
        wanted = causal.fc(x.mean((3, 4))[0].T).numpy()
    weights = {
        f"{name}.weight": drawn,
        f"{name}.bias": np.zeros(len(drawn), np.float32),
        "fc.weight": head,
    }
    run = PerFrameRun(semi_causal_form(model, spec, 1, weights=weights), 16)
    for tick, frame in enumerate(stream[:60]):
        found = run.step(frame)
        if tick >= 3:
            check_close(found[0], wanted[tick - 3])
