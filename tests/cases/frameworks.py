"""7. Frameworks that own the loop: their programs run as they are. Their packages are in the extra `frameworks`."""

import logging
import tempfile
import warnings

import torch
from cases.case import case
from torch import nn


@case(7, "Lightning", {"lin.weight": 2, "lin.bias": 2}, iteration=2, needs="pytorch_lightning")
def lightning(look):
    import pytorch_lightning as pl

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def training_step(self, batch, index):
            return self.lin(torch.tanh(self.lin(batch))).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    net, data = Net(), torch.utils.data.DataLoader(torch.randn(8, 3), batch_size=4)
    look(net)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
        trainer.fit(net, data)


def fit(model):
    """Two steps of a Hugging Face Trainer; its gradients are clipped, as it does by default."""
    from transformers import Trainer, TrainingArguments

    data = [{"input_ids": torch.arange(n, n + 6) % 11, "labels": torch.arange(n, n + 6) % 11} for n in range(8)]
    quiet = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
    with tempfile.TemporaryDirectory() as place:
        settings = TrainingArguments(place, use_cpu=True, max_steps=2, per_device_train_batch_size=4, **quiet)
        Trainer(model=model, args=settings, train_dataset=data).train()


CLIPPED = {"labels": ["scaled by *"], "iteration": 2, "needs": "transformers"}
TIED = {"findings": ["tied"], "says": ["transformer.wte.weight = lm_head.weight"]}


@case(7, "Hugging Face Trainer, GPT-2: tied embeddings", {"transformer.wte.weight": 2}, **CLIPPED, **TIED)
def gpt2(look):
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    look(model)
    fit(model)


LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"


@case(7, "Hugging Face Trainer, ALBERT: three layers are one", {LAYER: 3}, **CLIPPED)
def albert(look):
    from transformers import AlbertConfig, AlbertForMaskedLM

    sizes = {"vocab_size": 11, "embedding_size": 8, "hidden_size": 8, "intermediate_size": 16}
    sizes |= {"num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 8}
    model = AlbertForMaskedLM(AlbertConfig(**sizes))
    look(model)
    fit(model)
