"""Parity checks of small networks: their outputs, and those of their artifacts."""

from __future__ import annotations

from networks import SMALL, network_of, random_parameters, small_network, spec_for

from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.parity import verify_onnx
from r2p_edge.export.verify.reference import reference_activations, reference_logits
from r2p_edge.export.verify.synthetic_clips import input_from_clips, normalized, verification_clips

EPS = 1e-5
SPEC = spec_for(7)
CLIPS = verification_clips(SPEC, 3)
PARAMETERS = random_parameters(**SMALL)


def exported(parameters=PARAMETERS, spec=SPEC, eps=EPS, batch=1):
    """Return the ONNX file of a network."""
    return small_network(spec, batch, parameters, eps).SerializeToString()


def check(model, parameters=PARAMETERS, spec=SPEC, eps=EPS, clips=CLIPS):
    """Compare a model with the NumPy reference and return its parity record."""
    return verify_onnx(
        model,
        spec,
        clips,
        reference_logits(parameters, network_of(parameters, eps), normalized(clips, spec)),
        reference="numpy",
        activations=lambda clip: reference_activations(
            parameters, network_of(parameters, eps), normalized(clip, spec)
        ),
    )


def answers(path, spec, clips):
    """Return the logits of the artifact at `path` for uint8 clips."""
    return run_session(open_session(path), input_from_clips(clips, spec))


def answers_of_each_form(parameters, network, spec, clips):
    """Yield a network's logits as ONNX with 3-D convolutions and without, for float32 clips."""
    from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    model = onnx_from_parameters(parameters, network, spec)
    for form in (model, conv2d_from_conv3d(model)):
        yield run_session(open_session(form.SerializeToString()), clips)


def torch_answers(network, spec, clips):
    """Return the logits of a PyTorch network for uint8 clips."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(normalized(clips, spec))).numpy()
