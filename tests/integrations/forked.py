"""Trainings in forked processes, as torchrun would start them but without importing everything anew; killed at will."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from adacore.training.reselector import Reselector

POINTS = ("selecting", "in an epoch", "writing a checkpoint")


def run(size, function, folder, *args, kill_at=None):
    """Call ``function(folder, *args)`` in each of ``size`` new processes, and return what each returns.

    As under torchrun, where one is killed the others are stopped. Then the result is None.

    Args:
        size: Processes; with one, no group is initialised.
        function: Of a test module.
        folder: Where the function keeps its checkpoints.
        *args: For the function.
        kill_at: One of ``POINTS``: where one process kills itself by SIGKILL; the first, which writes checkpoints, in
            writing one, and else the last.
    """
    context = multiprocessing.get_context("fork")
    port = free_port()
    Path(folder).mkdir(exist_ok=True)
    results = [Path(folder) / f"result-{rank}.pt" for rank in range(size)]
    for result in results:
        result.unlink(missing_ok=True)
    children = [
        context.Process(target=_child, args=(rank, size, port, kill_at, results[rank], function, folder, *args))
        for rank in range(size)
    ]
    for child in children:
        child.start()
    deadline = time.monotonic() + 240
    while any(child.is_alive() for child in children) and time.monotonic() < deadline:
        if any(child.exitcode not in {None, 0} for child in children):
            break
        time.sleep(0.01)
    time.sleep(0.05)  # one that lost its peer may have ended an instant before the peer is seen to have
    killed = children[_killed(kill_at, size)].exitcode
    for child in children:
        child.kill()
        child.join()
    codes = [child.exitcode for child in children]
    if kill_at is not None:
        assert killed == -signal.SIGKILL, f"not killed {kill_at}: {codes}"
        return None
    assert codes == [0] * size, codes
    return [torch.load(result, weights_only=False) for result in results]


def _killed(kill_at, size):
    return 0 if kill_at == "writing a checkpoint" else size - 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _child(rank, size, port, kill_at, result, function, folder, *args):
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    if size > 1:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(size),
            LOCAL_WORLD_SIZE=str(size),
            GROUP_RANK="0",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            TORCHELASTIC_RUN_ID="forked",  # by which Lightning knows that its processes were started for it
        )
    _forget_state_of_accelerate()
    if kill_at is not None and rank == _killed(kill_at, size):
        _arm(kill_at)
    torch.save(function(folder, *args), result)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    os._exit(0)  # without what a library may wait for at the end


def _forget_state_of_accelerate():
    """An ``Accelerator`` that was made before the fork left its state, of one process, to all that are forked."""
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)


def _arm(kill_at):
    """See to it that this process kills itself: SIGKILL leaves no time to save or to tidy up."""
    if kill_at == "selecting":
        choose = Reselector._select

        def choosing(self, *args):
            if self.reselections == 1:  # in the second selection, which has averages to lose
                os.kill(os.getpid(), signal.SIGKILL)
            return choose(self, *args)

        Reselector._select = choosing
    elif kill_at == "in an epoch":
        _after(torch.Tensor, "backward", 8)  # in the middle of the third epoch
    else:
        _half_written(6)


def _after(owner, name, calls):
    function, count = getattr(owner, name), [0]

    def counting(*args, **kwargs):
        count[0] += 1
        if count[0] == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(owner, name, counting)


def _half_written(calls):
    """Kill in the given call of torch.save, which has written half of its file by then."""
    save, count = torch.save, [0]

    def saving(value, file, *args, **kwargs):
        count[0] += 1
        save(value, file, *args, **kwargs)
        if count[0] == calls:
            if isinstance(file, str | os.PathLike):
                os.truncate(file, os.path.getsize(file) // 2)  # noqa: PTH202
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = saving
