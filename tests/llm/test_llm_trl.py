"""With the critic off, loss and gradient are those of TRL's DPO trainer on the same rows.

TRL renders, tokenises, masks and scores by itself (https://github.com/huggingface/trl); it is optional.
"""

import copy

import pytest
import torch
from small_runs import gradient

from llm.data.row import Row
from llm.data.validate import Limits, prepare
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.models.logprobs import with_logps
from llm.stages.reference import score
from llm.training.batches import StreamCollator
from llm.training.trainer import MethodTrainer
from llm.worlds import tiny
from llm.worlds.language import Language

trl = pytest.importorskip("trl")


def raw_rows(count):
    language = Language()
    prompts, answers = language.prompts, language.responses
    return [
        {
            "prompt": [{"role": "user", "content": prompts[x]}],
            "chosen": [{"role": "assistant", "content": answers[a]}],
            "rejected": [{"role": "assistant", "content": answers[b]}],
        }
        for x, a, b in zip(*(t.tolist() for t in language.sample_pairs(count, seed=5)), strict=True)
    ]


def test_loss_and_gradient_of_the_sigmoid_loss(tmp_path):
    from datasets import Dataset
    from transformers import TrainingArguments

    raw, beta, tok = raw_rows(16), 0.3, tiny.tokenizer()
    model, reference = tiny.model(tok, seed=1), tiny.model(tok, seed=2)
    theirs = copy.deepcopy(model)
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path),
        beta=beta,
        per_device_train_batch_size=len(raw),
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    theirs_trainer = trl.DPOTrainer(
        theirs,
        copy.deepcopy(reference),
        args=arguments,
        train_dataset=Dataset.from_list(raw),
        processing_class=tok,
    )
    theirs.eval()
    expected = theirs_trainer.compute_loss(
        theirs, next(iter(theirs_trainer.get_train_dataloader()))
    )

    rows, _ = prepare(raw, tok, Limits(16, 24, "keep"))
    names, dpo = ("chosen", "rejected"), Spac(lam=1.0, beta=beta, w=0.0, reference="initial")
    found = score(with_logps(reference), rows, names, tok.pad_token_id)
    rows = [
        Row(row.prompt, row.responses, {"initial": logps})
        for row, logps in zip(rows, found, strict=True)
    ]
    streams = streams_of(dpo, samples=1)
    ours = MethodTrainer(
        model,
        method=dpo,
        streams=streams,
        args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]),
    )
    model.eval()
    got = ours.compute_loss(model, StreamCollator(tok.pad_token_id, streams)(rows))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert abs(float(got.detach()) - 0.6931) > 0.01  # away from the value at equal policies
    torch.testing.assert_close(
        gradient(model, got), gradient(theirs, expected), rtol=1e-3, atol=1e-6
    )
