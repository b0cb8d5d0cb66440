"""Triton's own client, sync and asyncio, with a server of ours."""

import asyncio

import numpy as np
import pytest
from kserve import CLIP, NAME
from requirements import needs

pytestmark = [pytest.mark.slow, needs("tritonclient")]


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, *CLIP), np.uint8)


def tensors(module, pixels, *, binary=True):
    found = module.InferInput("frames", pixels.shape, "UINT8")
    found.set_data_from_numpy(pixels, binary_data=binary)
    return [found]


def test_sync(server, pixels, clip):
    import tritonclient.http as module

    predictor = server.model.predictor
    with module.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        assert client.is_model_ready(NAME, "1")
        assert client.get_server_metadata()["name"] == "r2p_edge"
        assert client.get_model_metadata(NAME)["name"] == NAME
        parameters = client.get_model_config(NAME)["parameters"]
        assert "r2p_edge.spec" in parameters
        for binary in (True, False):
            wanted = [module.InferRequestedOutput("logits", binary_data=binary)]
            inputs = tensors(module, pixels, binary=binary)
            answer = client.infer(NAME, inputs, outputs=wanted, request_id="7")
            assert np.array_equal(answer.as_numpy("logits"), predictor.outputs_of(pixels))
            assert answer.get_response()["id"] == "7"
        answer = client.infer(NAME, tensors(module, pixels))
        scores = predictor.scores(pixels).astype(np.float32)
        assert np.array_equal(answer.as_numpy("scores"), scores)
        many = [client.async_infer(NAME, tensors(module, pixels)) for _ in range(8)]
        for each in many:
            assert np.array_equal(each.get_result().as_numpy("scores"), scores)
        wanted = [module.InferRequestedOutput("scores", class_count=1)]
        answer = client.infer(NAME, tensors(module, pixels), outputs=wanted)
        best = [text.decode().split(":")[2] for text in answer.as_numpy("scores").reshape(-1)]
        assert best == [predictor.spec.labels[index] for index in scores.argmax(axis=1)]
        video = module.InferInput("video", [1], "BYTES")
        video.set_data_from_numpy(np.array([clip.read_bytes()], np.object_))
        answer = client.infer(NAME, [video])
        assert np.array_equal(answer.as_numpy("logits"), predictor.outputs(clip))
        other = [module.InferRequestedOutput("other")]
        with pytest.raises(module.InferenceServerException, match="no output 'other'"):
            client.infer(NAME, tensors(module, pixels), outputs=other)
        with pytest.raises(module.InferenceServerException, match="nothing at this address"):
            client.infer("other", tensors(module, pixels))


def test_asyncio(server, pixels):
    import tritonclient.http.aio as module

    async def ask():
        async with module.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata(NAME))["name"] == NAME
            return await asyncio.gather(
                *(client.infer(NAME, tensors(module, pixels)) for _ in range(4))
            )

    for answer in asyncio.run(ask()):
        expected = server.model.predictor.outputs_of(pixels)
        assert np.array_equal(answer.as_numpy("logits"), expected)
