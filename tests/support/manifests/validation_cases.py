"""The table of manifests that the models and the API server must judge alike.

Each case is a change of a valid manifest, and the line that the models give for it (None where it stays valid).
`server` is a part of the API server's message; where it is None the server refuses by its schema alone.
"""

from __future__ import annotations

from support.manifests.base_manifests import DIGEST, Case
from support.manifests.cluster_validation_cases import CLUSTER_CASES
from support.manifests.task_validation_cases import TASK_CASES
from support.manifests.weights_validation_cases import WEIGHTS_CASES

T, S = "spec.training", "spec.trialTemplate.spec"
CROP = {"type": "RandomResizedCrop", "randomResizedCrop": {"size": 96}}
RESIZE = {"type": "Resize", "resize": {"size": 96}}
MIXUP = {"type": "Mixup"}
BEST = {f"{T}.modelSelection": "Best"}
STOP = {"metric": "validation/loss", "direction": "Minimize", "patienceEvaluations": 3}

CASES: dict[str, Case] = {
    "the smallest job": Case(),
    "the smallest sweep": Case(kind="SweepJob"),
    "the smallest profile": Case(kind="TrainingProfile"),
    # names
    "a name of 40 characters": Case(change={"metadata.name": "a" * 40}),
    "a name of 41 characters": Case(
        change={"metadata.name": "a" * 41},
        line=f"metadata.name: must have at most 40 characters (got '{'a' * 41}'); shorten it",
        server="metadata.name must have at most 40 characters",
    ),
    "a name that begins with a digit": Case(
        change={"metadata.name": "1st"},
        line="metadata.name: must be an RFC 1035 label: a lower case letter, then lower case letters, digits and "
        "inner dashes (got '1st'); rename the object",
        server="metadata.name must be an RFC 1035 label",
    ),
    # shapes
    "an unknown field": Case(
        change={f"{T}.optimizer.learning_rate": "1"},
        line=f"{T}.optimizer.learning_rate: is not a field (got '1'); did you mean learningRate?",
        server='unknown field "spec.training.optimizer.learning_rate"',
    ),
    "a number where a string is wanted": Case(
        change={f"{T}.optimizer.learningRate": 0.1},
        line=f"{T}.optimizer.learningRate: must be a string (got 0.1); put it in quotes",
    ),
    "a string where a number is wanted": Case(
        change={f"{T}.epochs": "3"},
        line=f"{T}.epochs: must be an integer (got '3'); write a whole number without quotes",
    ),
    "true where a number is wanted": Case(
        change={f"{T}.epochs": True},
        line=f"{T}.epochs: must be an integer (got True); write a whole number without quotes",
    ),
    "a string where a flag is wanted": Case(
        change={"spec.suspend": "yes"},
        line="spec.suspend: must be true or false (got 'yes'); write true or false without quotes",
    ),
    "a word where a block is wanted": Case(
        change={"spec.dataset": "s3://datasets/small"},
        line="spec.dataset: must be a block of fields (got 's3://datasets/small'); "
        "write its fields below it, indented",
    ),
    "a block where a list is wanted": Case(
        change={"spec.model.args": {"width": "64"}},
        line="spec.model.args: must be a list (got {'width': '64'}); write its entries below it, each with a dash",
    ),
    "no output": Case(
        change={"spec.output": None},
        line="spec.output: is missing (got nothing); write it",
        server="Required value",
    ),
    "a lower case enum": Case(
        change={f"{T}.optimizer.type": "sgd"},
        line=f"{T}.optimizer.type: must be 'SGD' or 'AdamW' (got 'sgd'); did you mean SGD?",
    ),
    "half precision": Case(
        change={f"{T}.precision": "Float16"},
        line=f"{T}.precision: must be 'Float32' or 'BFloat16' (got 'Float16'); did you mean BFloat16?",
    ),
    "zero epochs": Case(
        change={f"{T}.epochs": 0}, line=f"{T}.epochs: must be at least 1 (got 0); choose a larger value"
    ),
    # fractions
    "a fraction with an exponent": Case(change={f"{T}.optimizer.learningRate": "5E-4"}),
    "a fraction with a comma": Case(
        change={f"{T}.optimizer.learningRate": "0,1"},
        line=f"{T}.optimizer.learningRate: must be a decimal number in quotes (got '0,1'); write at most 9 digits, "
        '12 decimals and an exponent, for example "0.1" or "5e-4"',
    ),
    "a negative fraction": Case(
        change={f"{T}.optimizer.weightDecay": "-1"},
        line=f"{T}.optimizer.weightDecay: must be a decimal number in quotes (got '-1'); write at most 9 digits, "
        '12 decimals and an exponent, for example "0.1" or "5e-4"',
    ),
    "no learning at all": Case(
        change={f"{T}.optimizer.learningRate": "0.0"},
        line=f"{T}.optimizer.learningRate: must be more than 0 and at most 1000 (got '0.0'); "
        "choose a value in that range",
        server="must be more than 0 and at most 1000",
    ),
    "a momentum of one": Case(
        change={f"{T}.optimizer.sgd": {"momentum": "1"}},
        line=f"{T}.optimizer.sgd.momentum: must be at least 0 and less than 1 (got '1'); "
        "choose a value in that range",
        server="must be at least 0 and less than 1",
    ),
    # one of two
    "epochs and steps": Case(
        change={f"{T}.steps": 10},
        line=f"{T}: must have exactly one of epochs and steps",
        server="must have exactly one of epochs and steps",
    ),
    "neither epochs nor steps": Case(
        change={f"{T}.epochs": None},
        line=f"{T}: must have exactly one of epochs and steps",
        server="must have exactly one of epochs and steps",
    ),
    "name and entrypoint": Case(
        change={"spec.model.entrypoint": "mine.net:Net"},
        line="spec.model: must have exactly one of name and entrypoint",
        server="must have exactly one of name and entrypoint",
    ),
    "user code": Case(
        change={"spec.model": {"entrypoint": "mine.net:Net", "code": {"uri": "s3://code/mine.whl"}}}
    ),
    "code without entrypoint": Case(
        change={"spec.model.code": {"uri": "s3://code/mine.whl"}},
        line="spec.model.code: is only allowed with entrypoint (got {'uri': 's3://code/mine.whl'}); "
        "remove it or name the entrypoint",
        server="is only allowed with entrypoint",
    ),
    "a network of a library": Case(change={"spec.model.name": "torchvision/mobilenet_v3_small"}),
    "a network of another library": Case(
        change={"spec.model.name": "keras/resnet50"},
        line="spec.model.name: must be simple-cnn, resnet18, resnet34, resnet50, torchvision/NAME or timm/NAME",
    ),
    "frozen layers and groups": Case(
        change={
            f"{T}.freeze": ["conv1.*", "norm?.bias"],
            f"{T}.parameterGroups": [{"match": "head.*", "learningRateFactor": "3", "weightDecay": "0"}],
        }
    ),
    "a frozen nothing": Case(change={f"{T}.freeze": []}, line=f"{T}.freeze: must have 1 to 64 entries"),
    "a pattern with a blank": Case(
        change={f"{T}.freeze": ["conv1 *"]}, line=f"{T}.freeze[0]: must be a pattern of parameter names"
    ),
    "a group that learns nothing": Case(
        change={f"{T}.parameterGroups": [{"match": "*", "learningRateFactor": "0"}]},
        line=f"{T}.parameterGroups[0].learningRateFactor: must be more than 0 and at most 1000000",
        server="must be more than 0 and at most 1000000",
    ),
    "one pattern for two groups": Case(
        change={f"{T}.parameterGroups": [{"match": "a"}, {"match": "a"}]},
        line=f"{T}.parameterGroups: has match a more than once",
        server="Duplicate value",
    ),
    "an average of weights": Case(change={f"{T}.ema": {"decay": "0.999", "startStep": 100}}),
    "an average that never moves": Case(
        change={f"{T}.ema": {"decay": "1"}},
        line=f"{T}.ema.decay: must be at least 0 and less than 1",
        server="must be at least 0 and less than 1",
    ),
    "an average without a decay": Case(change={f"{T}.ema": {}}, line=f"{T}.ema.decay: is missing"),
    # unions
    "a member under the wrong type": Case(
        change={f"{T}.optimizer.adamW": {}},
        line=f"{T}.optimizer.adamW: is only allowed with type AdamW",
        server="is only allowed with type AdamW",
    ),
    "a member that cannot be left out": Case(
        change={f"{T}.learningRateSchedule": {"type": "Step"}},
        line=f"{T}.learningRateSchedule.step.factor: is missing (got nothing); write it",
        server="is needed with type Step",
    ),
    "a step schedule": Case(
        change={f"{T}.learningRateSchedule": {"type": "Step", "step": {"everyEpochs": 2, "factor": "0.1"}}}
    ),
    "a step schedule by epochs and steps": Case(
        change={
            f"{T}.learningRateSchedule": {
                "type": "Step",
                "step": {"everyEpochs": 2, "everySteps": 10, "factor": "0.1"},
            }
        },
        line=f"{T}.learningRateSchedule.step: must have exactly one of everyEpochs and everySteps",
        server="must have exactly one of everyEpochs and everySteps",
    ),
    "a cosine that ends above its start": Case(
        change={f"{T}.learningRateSchedule": {"type": "Cosine", "cosine": {"minimum": "0.2"}}},
        line=f"{T}.learningRateSchedule.cosine.minimum: must not be more than optimizer.learningRate "
        "(got '0.2'); choose a smaller minimum",
        server="must not be more than optimizer.learningRate",
    ),
    "nesterov without momentum": Case(
        change={f"{T}.optimizer.sgd": {"nesterov": True}},
        line=f"{T}.optimizer.sgd.nesterov: needs a momentum above 0 (got True); "
        'set momentum, for example "0.9"',
        server="needs a momentum above 0",
    ),
    # batches and workers
    "shards of unlike size": Case(
        change={f"{T}.batch": {"globalSize": 100, "microSize": 16}},
        line=f"{T}.batch.globalSize: must be a multiple of microSize (got 100); change one of the two",
        server="must be a multiple of microSize",
    ),
    "more shards than a tree should have": Case(
        change={f"{T}.batch": {"globalSize": 8192, "microSize": 1}},
        line=f"{T}.batch.globalSize: must be at most 4096 times microSize (got 8192); choose a larger microSize",
        server="must be at most 4096 times microSize",
    ),
    "as many workers as shards": Case(change={"spec.cluster": {"workers": {"max": 8}}}),
    "more workers than shards": Case(
        change={"spec.cluster": {"workers": {"max": 9}}},
        line="spec.cluster.workers.max: must not be more than training.batch.globalSize / microSize (got 9); "
        "lower it, or choose a smaller microSize",
        server="must not be more than training.batch.globalSize / microSize",
    ),
    "more workers at least than at most": Case(
        change={"spec.cluster": {"workers": {"min": 3, "max": 2}}},
        line="spec.cluster.workers.min: must not be more than max (got 3); exchange or correct the two",
        server="must not be more than max",
    ),
    # augmentation
    "flips without a size": Case(
        change={f"{T}.augmentation": [{"type": "HorizontalFlip"}]},
        line=f"{T}.augmentation: must have exactly one of Resize and RandomResizedCrop",
        server="must have exactly one of Resize and RandomResizedCrop",
    ),
    "two sizes": Case(
        change={f"{T}.augmentation": [RESIZE, CROP]},
        line=f"{T}.augmentation: must have exactly one of Resize and RandomResizedCrop",
        server="must have exactly one of Resize and RandomResizedCrop",
    ),
    "mixup twice": Case(
        change={f"{T}.augmentation": [RESIZE, MIXUP, MIXUP]},
        line=f"{T}.augmentation: must have Mixup at most once",
        server="must have Mixup at most once",
    ),
    "a crop that cannot be": Case(
        change={f"{T}.augmentation": [{**CROP, "randomResizedCrop": {"size": 96, "scaleMax": "0.01"}}]},
        line=f"{T}.augmentation[0].randomResizedCrop.scaleMin: must not be more than scaleMax (got '0.08'); "
        "exchange or correct the two",
        server="must not be more than scaleMax",
    ),
    "a crop of no shape": Case(
        change={f"{T}.augmentation": [{**CROP, "randomResizedCrop": {"size": 96, "ratioMin": "2"}}]},
        line=f"{T}.augmentation[0].randomResizedCrop.ratioMin: must not be more than ratioMax (got '2'); "
        "exchange or correct the two",
        server="must not be more than ratioMax",
    ),
    "two channels": Case(
        change={f"{T}.normalization": {"mean": ["0.5", "0.5"]}},
        line=f"{T}.normalization.mean: must have exactly 3 entries",
    ),
    "a class weighted twice": Case(
        change={
            f"{T}.loss": {
                "type": "CrossEntropy",
                "crossEntropy": {
                    "classWeights": [{"name": "a", "weight": "2"}, {"name": "a", "weight": "3"}]
                },
            }
        },
        line=f"{T}.loss.crossEntropy.classWeights: has name a more than once",
        server="Duplicate value",
    ),
    # evaluation
    "the best model": Case(change=BEST),
    "the best model without evaluation": Case(
        change={**BEST, "spec.evaluation": {}},
        line=f"{T}.modelSelection: Best needs a regular evaluation (got 'Best'); "
        "set evaluation.everyEpochs or evaluation.everySteps, or modelSelection: Last",
        server="Best needs a regular evaluation",
    ),
    "early stopping": Case(change={f"{T}.earlyStopping": STOP}),
    "early stopping without evaluation": Case(
        change={f"{T}.earlyStopping": STOP, "spec.evaluation": {}},
        line=f"{T}.earlyStopping: needs a regular evaluation",
        server="needs a regular evaluation",
    ),
    "early stopping on a growing loss": Case(
        change={f"{T}.earlyStopping": {**STOP, "direction": "Maximize"}},
        line=f"{T}.earlyStopping.direction: must be Minimize for validation/loss, validation/mae, "
        "validation/rmse and Maximize for other metrics (got 'Maximize'); change direction or metric",
        server="must be Minimize for validation/loss, validation/mae, validation/rmse",
    ),
    "evaluation by epochs and steps": Case(
        change={"spec.evaluation": {"everyEpochs": 1, "everySteps": 10}},
        line="spec.evaluation: must have at most one of everyEpochs and everySteps",
        server="must have at most one of everyEpochs and everySteps",
    ),
    # dataset
    "a tagged dataset": Case(change={"spec.dataset.tag": "v1.2-rc_3"}),
    "a tag that is none": Case(
        change={"spec.dataset.tag": "a/b"},
        line="spec.dataset.tag: must be 1 to 64 letters, digits, dots, dashes and underscores",
    ),
    "a tag and a digest": Case(
        change={"spec.dataset.tag": "v1", "spec.dataset.digest": DIGEST},
        line="spec.dataset.tag: does not go with digest, which names the version already (got 'v1'); "
        "keep one of them",
        server="does not go with digest, which names the version already; keep one of them",
    ),
    "a pinned dataset": Case(change={"spec.dataset.digest": DIGEST}),
    "a digest in upper case": Case(
        change={"spec.dataset.digest": "sha256:" + "A" * 64},
        line="spec.dataset.digest: must be sha256: and 64 lower case hexadecimal digits",
    ),
    "a fold beyond the last": Case(
        change={"spec.dataset.fold": {"index": 3, "count": 3}},
        line="spec.dataset.fold.index: must be less than count (got 3); count folds from 0",
        server="must be less than count",
    ),
    "an empty subset": Case(
        change={"spec.dataset.subset": {"fraction": "0"}},
        line="spec.dataset.subset.fraction: must be more than 0 and at most 1",
        server="must be more than 0 and at most 1",
    ),
    "blanks around a URL": Case(
        change={"spec.dataset.uri": " s3://datasets/small"},
        line="spec.dataset.uri: must be a URL or a path without control characters or blanks around it",
    ),
    # sweeps
    "an output in a trial": Case(
        kind="SweepJob",
        change={f"{S}.output": {"uri": "s3://runs"}},
        line=f"{S}.output: is not a field",
        server="unknown field",
    ),
    "a field that cannot be swept": Case(
        kind="SweepJob",
        change={"spec.parameters.0.fieldPath": "spec.training.optimizer.learningrate"},
        line="spec.parameters[0].fieldPath: is not a value that is allowed here "
        "(got 'spec.training.optimizer.learningrate'); did you mean spec.training.optimizer.learningRate?",
        server="Unsupported value",
    ),
    "two search spaces": Case(
        kind="SweepJob",
        change={"spec.parameters.0.searchSpace.uniform": {"min": "0", "max": "1"}},
        line="spec.parameters[0].searchSpace: must have exactly one of uniform, logUniform, int and categorical",
        server="must have exactly one of uniform, logUniform, int and categorical",
    ),
    "a field and an argument": Case(
        kind="SweepJob",
        change={"spec.parameters.0.modelArg": "width"},
        line="spec.parameters[0]: must have exactly one of fieldPath and modelArg",
        server="must have exactly one of fieldPath and modelArg",
    ),
    "an empty range": Case(
        kind="SweepJob",
        change={"spec.parameters.0.searchSpace": {"uniform": {"min": "0.10", "max": "1e-1"}}},
        line="spec.parameters[0].searchSpace.uniform.min: must be less than max (got '0.1'); "
        "exchange or correct the two",
        server="must be less than max",
    ),
    "a logarithm of zero": Case(
        kind="SweepJob",
        change={"spec.parameters.0.searchSpace.logUniform.min": "0"},
        line="spec.parameters[0].searchSpace.logUniform.min: must be more than 0 (got '0'); "
        "choose a positive minimum",
        server="must be more than 0",
    ),
    "a condition on a later parameter": Case(
        kind="SweepJob",
        change={"spec.parameters.0.when": {"parameter": "net", "in": ["simple-cnn"]}},
        line="spec.parameters: has a condition on a parameter that does not stand earlier in the list",
        server_accepts=True,
    ),
    "a condition on nothing": Case(
        kind="SweepJob",
        change={"spec.parameters.2.when.parameter": "nett"},
        line="spec.parameters: has a condition on a parameter that does not stand earlier in the list",
        server="has a condition on a parameter that does not stand earlier in the list",
    ),
    "a grid over a continuum": Case(
        kind="SweepJob",
        change={"spec.algorithm": {"type": "Grid"}},
        line="spec.parameters: must all be int or categorical for Grid",
        server="must all be int or categorical for Grid",
    ),
    "more trials at once than in all": Case(
        kind="SweepJob",
        change={"spec.parallelTrialCount": 11},
        line="spec.parallelTrialCount: must not be more than maxTrialCount (got 11); lower it",
        server="must not be more than maxTrialCount",
    ),
    "folds in folds": Case(
        kind="SweepJob",
        change={"spec.crossValidation": {"folds": 3}, f"{S}.dataset.fold": {"index": 0, "count": 3}},
        line="spec.crossValidation: cannot be combined with dataset.fold of the template",
        server="cannot be combined with dataset.fold of the template",
    ),
    "rungs without epochs": Case(
        kind="SweepJob",
        change={
            "spec.earlyStopping": {"type": "PrefixASHA"},
            f"{S}.training": {"steps": 10, "optimizer": {"type": "SGD", "learningRate": "0.1"}},
        },
        line="spec.earlyStopping: needs training.epochs and evaluation.everyEpochs in the template",
        server="needs training.epochs and evaluation.everyEpochs in the template",
    ),
    "more workers per trial than shards": Case(
        kind="SweepJob",
        change={"spec.workersPerTrial": 9},
        line="spec.workersPerTrial: must not be more than training.batch.globalSize / microSize of the template",
        server="must not be more than training.batch.globalSize / microSize of the template",
    ),
    "a value that no trial can have": Case(
        kind="SweepJob",
        change={"spec.parameters.1.searchSpace.categorical.values": ["simple-cnn", "resnet81"]},
        line="spec.parameters[1].searchSpace: with resnet81 a trial has a mistake at spec.model.name: must be "
        "simple-cnn, resnet18, resnet34, resnet50, torchvision/NAME or timm/NAME (got 'resnet81'); did you mean resnet18?",
        server_accepts=True,
    ),
    **CLUSTER_CASES,
    **WEIGHTS_CASES,
    **TASK_CASES,
}
