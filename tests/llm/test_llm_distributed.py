"""Two processes on the CPU give the numbers of one; launch configurations parse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sharded_worker
import torch
from safetensors.torch import load_file

from llm.files.digests import read_rows
from llm.worlds import tiny

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder in which two processes have done all their work (one launch for all tests)."""
    folder = tmp_path_factory.mktemp("two")
    tiny.model(tiny.tokenizer(), seed=4).save_pretrained(folder / "model")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(HERE / "sharded_worker.py"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_fully_shard_gives_the_losses_and_gradients_of_one_process(two):
    """Padded, packed, packed with recomputed activations: the worker compares with one padded pass."""
    assert (two / "rank-0-done").exists()
    assert (two / "rank-1-done").exists()


def test_data_parallel_training_follows_the_trajectory_of_one_process(two):
    sharded_worker.data_parallel(two)
    one, both = (load_file(two / f"world-{n}.safetensors") for n in (1, 2))
    torch.testing.assert_close(both["losses"], one["losses"], rtol=0, atol=1e-5)
    torch.testing.assert_close(both["weights"], one["weights"], rtol=0, atol=1e-6)


def test_packs_of_two_processes_follow_the_trajectory_of_one_padded_process(two):
    """Rows of uneven length, a single one in the last step of an epoch; also resumed inside an epoch."""
    sharded_worker.packed(two)
    padded = sharded_worker.trainer_of(two / "padded", sharded_worker.batch_rows(33))
    padded.train()
    expected = torch.cat([p.detach().flatten() for p in padded.model.parameters()])
    for name in ("packed-1", "packed-2", "packed-1-resumed", "packed-2-resumed"):
        found = load_file(two / f"{name}.safetensors")["weights"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)
    for n in (1, 2):
        found, again = (load_file(two / f"packed-{n}{end}.safetensors") for end in ("", "-resumed"))
        assert torch.equal(found["weights"], again["weights"])


def test_two_processes_draw_and_score_the_rows_of_one(two):
    sharded_worker.streams(two)
    one, both = (two / f"streams-{n}" for n in (1, 2))
    for name in ("samples.parquet", "streams.parquet"):
        assert read_rows(both / name) == read_rows(one / name)
    samples = [tuple(y) for row in read_rows(one / "samples.parquet") for y in row["ids/own"]]
    assert len(samples) == 80
    assert len(set(samples)) > 40


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "accelerate").glob("*.yaml")), ids=str)
def test_accelerate_configurations_parse_with_the_installed_version(path):
    from accelerate.commands.config.config_args import ClusterConfig

    config = ClusterConfig.from_yaml_file(str(path))
    assert config.mixed_precision == "bf16"


def test_the_fsdp_configuration_names_fields_and_layers_that_exist():
    import inspect

    import yaml
    from accelerate import FullyShardedDataParallelPlugin

    config = yaml.safe_load((ROOT / "conf/accelerate/fsdp2.yaml").read_text())["fsdp_config"]
    known = set(inspect.signature(FullyShardedDataParallelPlugin).parameters)
    renamed = {
        "transformer_layer_cls_to_wrap": "transformer_cls_names_to_wrap",
        "offload_params": "cpu_offload",
        "version": "fsdp_version",
    }
    for key in config:
        name = key.removeprefix("fsdp_")
        assert renamed.get(name, name) in known, key
    assert config["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
