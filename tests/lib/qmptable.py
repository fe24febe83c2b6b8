# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of what a daemon answers to commands in turn: parts, each with a daemon and files of its own,
of named steps.  answertest.py says how a table is kept and compared with stock's."""

import os
import shutil

from answertest import AnswerTest, without_numbers
from imgtest import must
from qmptest import JobError, QMPError, Vm

DAEMON = "qemu-storage-daemon"

# A stock daemon often finds its own clock too coarse for short iteration times of LUKS.
TOO_SHORT = "Unable to get accurate CPU usage"
TRIES = 100

# Secrets by their ids, for the command line; options of images that tables begin with.
WORDS = {"s": "word", "s2": "word2", "s3": "word3"}
SECRETS = [word for name, text in WORDS.items()
           for word in ("--object", f"secret,id={name},data={text}")]
IMAGES = {"q": "", "v2": "compat=0.10", "c512": "cluster_size=512", "lazy": "lazy_refcounts=on",
          "narrow": "refcount_bits=1", "r": "",
          "ext": "extended_l2=on", "df": "data_file=d.raw", "dfr": "data_file=dr.raw,data_file_raw=on",
          "luks": "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
          "aes": "encrypt.format=aes,encrypt.key-secret=s",
          "top": "backing_file=q.qcow2,backing_fmt=qcow2"}


def make_images():
    """NAME.qcow2 of 4 MiB for each of IMAGES, in the current folder."""
    for name, values in IMAGES.items():
        must("qemu-img", "create", "-q", "-f", "qcow2", *SECRETS, *(["-o", values] * bool(values)),
             f"{name}.qcow2", "4M")


def finished(vm, command, arguments):
    """Run a job, called c, to its end."""
    for left in reversed(range(TRIES)):
        vm.execute(command, {"job-id": "c", **arguments})
        try:
            return vm.wait_job("c")
        except JobError as error:
            if left == 0 or TOO_SHORT not in str(error):
                raise


def answer_of(call):
    """What came of call(): "ok", or the text of a refusal."""
    try:
        call()
    except JobError as error:
        return "job: " + str(error).removeprefix("job 'c' failed: ")
    except QMPError as error:
        return f"{error.error_class}: {error.desc}".removeprefix("GenericError: ")
    return "ok"


# ---- commands as steps: (name, arguments) --------------------------------------------------------


def options(*pairs, **more):
    return {**dict(pairs), **{name.replace("_", "-"): value for name, value in more.items()}}


def file(name, **more):
    return {"driver": "file", "filename": name, **options(**more)}


def opened(node="n", name="q", **more):
    return ("blockdev-add", {"driver": "qcow2", "node-name": node,
                             "file": file(f"{name}.qcow2", node_name=f"{node}-file"),
                             **options(**more)})


def closed(node="n"):
    return ("blockdev-del", {"node-name": node})


def bitmap(verb, name, node="n", **more):
    return (f"block-dirty-bitmap-{verb}", {"node": node, "name": name, **options(**more)})


def add(name, node="n", **more):
    return bitmap("add", name, node, persistent=True, **more)


def merge(target, *sources, node="n"):
    return ("block-dirty-bitmap-merge", {"node": node, "target": target, "bitmaps": list(sources)})


def together(*actions):
    return ("transaction", {"actions": [{"type": name, "data": data} for name, data in actions]})


def resized(node, size):
    return ("block_resize", {"node-name": node, "size": size})


class QmpTable(AnswerTest):
    """A cell is (part, title of the step); steps are whatever attempt() takes."""

    program, stock_program = DAEMON, DAEMON
    head = ""

    def parts(self):
        """(part, steps of (title, step)) each."""
        raise NotImplementedError

    def prepare(self, vm, part):
        """Nodes and objects of a new daemon."""

    def attempt(self, vm, step, is_compared):
        """The answer; is_compared: with stock's, so others may be asked about the outcome."""
        raise NotImplementedError

    def finish(self, part, answers):
        """The daemon of the part has ended."""

    def start(self, program, part):
        vm = Vm(program=program or DAEMON)
        self.prepare(vm, part)
        return vm

    def ask_part(self, program, part, steps, is_compared):
        answers, vm = {}, self.start(program, part)
        for number, (title, step) in enumerate(steps):
            try:
                answer = self.attempt(vm, step, is_compared)
            except (ConnectionError, TimeoutError) as error:
                answer = f"the daemon has ended: {error}"
                vm.process.kill()
                vm.process.wait()
                vm = self.start(program, part)
            if (part, title) in answers:
                title += f" ({number})"
            answers[part, title] = without_numbers(answer).replace(os.getcwd(), "")
        with vm:
            pass
        self.finish(part, answers)
        return answers

    def ask_all(self, program, names):
        answers, images = {}, os.listdir(".")
        os.mkdir("kept")
        for name in images:
            shutil.copy(name, "kept")
        for part, steps in self.parts():
            if not names or part in names:
                for name in images:
                    shutil.copy(os.path.join("kept", name), name)
                answers.update(self.ask_part(program, part, steps, bool(program or names)))
        for name in images:
            shutil.move(os.path.join("kept", name), name)
        os.rmdir("kept")
        return answers

    def text(self, answers):
        lines = [self.head, "", *self.reasons()]
        for part in dict.fromkeys(cell[0] for cell in answers):
            lines += ["", part]
            lines += [f"  {title}\n      {answer}" for (of, title), answer in answers.items()
                      if of == part]
        return "\n".join(lines) + "\n"
