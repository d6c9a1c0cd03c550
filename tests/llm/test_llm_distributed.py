"""Two processes on the CPU give the numbers of one; launch configurations parse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def launch(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(HERE / "sharded_worker.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]


def test_fully_shard_gives_the_losses_and_gradients_of_one_process():
    launch(2, "sharded")


def test_data_parallel_training_follows_the_trajectory_of_one_process(tmp_path):
    from safetensors.torch import load_file

    launch(1, "parallel", str(tmp_path))
    launch(2, "parallel", str(tmp_path))
    one, two = (load_file(tmp_path / f"world-{n}.safetensors") for n in (1, 2))
    torch.testing.assert_close(two["losses"], one["losses"], rtol=0, atol=1e-5)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "accelerate").glob("*.yaml")), ids=str)
def test_accelerate_configurations_parse_with_the_installed_version(path):
    from accelerate.commands.config.config_args import ClusterConfig

    config = ClusterConfig.from_yaml_file(str(path))
    assert config.mixed_precision == "bf16"


def test_the_fsdp_configuration_names_fields_and_layers_that_exist():
    import inspect

    import yaml
    from accelerate import FullyShardedDataParallelPlugin
    from transformers.models.mistral import modeling_mistral

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
    assert hasattr(modeling_mistral, config["fsdp_transformer_layer_cls_to_wrap"])
