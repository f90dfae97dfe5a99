"""Nineteen kinds of positional mistake; plain type checkers, without any plugin of ours, report the marked lines.

 1 a stage does not take the value of the contract before it
 2 a stage returns something else than its positional contract
 3 a contract is no type
 4 a stage behind a replaced value takes the old one
 5 the value changes its type in a loop
 6 an arm does not take the value
 7 a stage does not take what either arm may give
 8 a hook reads an attribute that the data does not have
 9 a hook that changes the data gives another type
10 a hook is misspelt
11 a hook's value has the wrong type
12 a hook takes too many arguments, or none
13 a condition reads an attribute that the value does not have
14 a condition is a coroutine function
15 through without a stage, or twice
16 what cannot be called is a stage, or an arm
17 map over a plain value, or over something that is no name
18 a loop is closed or left where none is open, or not closed at compile()
19 run() gets a value of another type
"""

from __future__ import annotations

from metta.sweep import Hooks, Pipeline
from tests.typing.records import (
    Batch,
    Config,
    Model,
    Report,
    advance,
    always,
    halve,
    slow,
    text_length,
    to_batch,
    to_checked,
    to_config,
    to_dict,
    to_float,
    to_list,
    to_model,
    to_network,
    to_report,
    to_text,
)

hooks: Hooks = {"log": print, "retry": 2}

# 1
Pipeline(str).stage("halve", halve)  # E 1
Pipeline(int).stage("float", to_float).through(float).stage("length", text_length)  # E 1
Pipeline(int).stage("float", to_float).stage("length", text_length)  # E 1
(
    Pipeline(int)
    .stage("dict", to_dict)
    .through(dict[str, float])
    .stage("halve", halve)  # E 1
    .through(float)
    .stage("text", to_text)
)
Pipeline(int).stage("slow", slow).through(float).stage("length", text_length)  # E 1
Pipeline(str).stage("nested", Pipeline(int).stage("float", to_float))  # E 1

# 2
Pipeline(int).stage("float", to_float).through(str)  # E 2
Pipeline(int).stage("float", to_float).through(int)  # E 2
Pipeline(int).stage("list", to_list).through(list[str])  # E 2
Pipeline(int).stage("dict", to_dict).through(dict[str, str], retry=3)  # E 2
Pipeline(int).stage("model", to_model).through(Report)  # E 2
Pipeline(int).stage("float", to_float).through(Model)  # E 2
Pipeline(int).stage("float", to_float).through(Batch)  # E 2
Pipeline(int).stage("batch", to_batch).through(Model)  # E 2
Pipeline(int).stage("network", to_network).through(float)  # E 2
Pipeline(int).stage("slow", slow).through(str)  # E 2
Pipeline(int).stage("model", to_model).through(Batch)  # E 2
Pipeline(int).stage("config", to_config).through(Batch)  # E 2
Pipeline(int).stage("checked", to_checked).through(Batch)  # E 2
Pipeline(int).stage("float", to_float).through(str, **hooks)  # E 2
Pipeline(int).stage("model", to_model).through(Report, **hooks)  # E 2

# 3
Pipeline(3)  # E 3
Pipeline(x=3)  # E 3
Pipeline([int])  # E 3
Pipeline(int).stage("float", to_float).through(3.0)  # E 3
Pipeline(int).stage("float", to_float).through(to_float)  # E 3

# 4
(
    Pipeline(int)
    .stage("float", to_float)
    .through(float)
    .stage("text", to_text)
    .through(str)
    .stage("again", to_text)  # E 4
    .through(str)
)

# 5
Pipeline(float).loop_while(lambda x: x > 1).stage("text", to_text).through(str).end_loop()  # E 5
Pipeline(Model).loop_while(lambda m: m.loss > 1).stage("report", to_report).end_loop()  # E 5
(
    Pipeline(float)
    .loop_while(lambda x: x > 1)
    .stage("text", to_text)
    .through(str)
    .break_if(lambda x: len(x) > 3)  # E 5
)

# 6
Pipeline(str).conditional(lambda x: len(x) > 3, halve)  # E 6
Pipeline(str).conditional(lambda x: len(x) > 3, Pipeline(float).stage("halve", halve))  # E 6

# 7
(
    Pipeline(int)
    .conditional(
        lambda x: x > 1,
        Pipeline().stage("float", to_float).through(float),
        Pipeline().stage("dict", to_dict).through(dict[str, float]),
    )
    .stage("halve", halve)  # E 7
)

# 8
Pipeline(int).stage("model", to_model).through(Model, validate=lambda data: data.los > 1)  # E 8
Pipeline(int).stage("batch", to_batch).through(Batch, log=lambda data: print(data.row))  # E 8
Pipeline(int).stage("float", to_float).through(float, skip_if=lambda x: x.upper())  # E 8

# 9
Pipeline(int).stage("model", to_model).through(Model, transform=lambda data: data.loss)  # E 9
Pipeline(int).stage("float", to_float).through(float, enrich=to_text)  # E 9
Pipeline(int).stage("batch", to_batch).through(Batch, checkpoint_path=lambda data: data.rows)  # E 9

# 10
Pipeline(int).stage("float", to_float).through(float, retires=3)  # E 10
Pipeline(int).stage("model", to_model).through(Model, chekpoint=True)  # E 10
Pipeline(int).stage("float", to_float).through(x=float, retires=3)  # E 10
Pipeline(int).stage("float", to_float).with_global_hooks(befor=print)  # E 10

# 11
Pipeline(int).stage("float", to_float).through(float, retry="3")  # E 11
Pipeline(int).stage("model", to_model).through(Model, timeout="long")  # E 11
Pipeline(int).stage("batch", to_batch).through(Batch, checkpoint="yes")  # E 11
Pipeline(int).stage("float", to_float).through(x=float, validate_type="always")  # E 11
Pipeline(int).stage("float", to_float).through(log="loss")  # E 11

# 12
Pipeline(int).stage("model", to_model).through(Model, validate=lambda a, b: a > b)  # E 12
Pipeline(int).stage("float", to_float).through(float, log=lambda: None)  # E 12
Pipeline(int).stage("float", to_float).through(x=float, on_error=lambda a, b, c: None)  # E 12

# 13
Pipeline(Model).loop_while(lambda m: m.los > 1)  # E 13
Pipeline(Model).conditional(lambda m: m.los > 1, advance)  # E 13
Pipeline(float).loop_while().stage("halve", halve).end_loop(until=lambda x: x.los)  # E 13
Pipeline(Model).loop_while(text_length)  # E 13

# 14
Pipeline(float).loop_while(always)  # E 14
Pipeline(float).conditional(always, halve)  # E 14
Pipeline(float).loop_while().stage("halve", halve).break_if(always)  # E 14
Pipeline(float).loop_while().stage("halve", halve).end_loop(until=always)  # E 14

# 15
Pipeline(int).through(float)  # E 15
Pipeline(int).stage("float", to_float).through(float).through(float)  # E 15
Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, to_float).through(y=float)  # E 15

# 16
Pipeline(int).stage("float", to_float(1))  # E 16
Pipeline().stage("three", 3)  # E 16
Pipeline().stage(to_float, to_float)  # E 16
Pipeline(int).parallel([to_float, to_float(1)])  # E 16
Pipeline(int).conditional(lambda x: x > 1, to_float, to_float(1))  # E 16

# 17
Pipeline(float).map("halve", halve, over="x")  # E 17
Pipeline(xs=list[float]).map("halve", halve, over=3)  # E 17
Pipeline(xs=list[float]).map("halve", halve)  # E 17
Pipeline(xs=list[float]).map("halve", halve, over="xs", max_parallel="2")  # E 17
Pipeline(Config).map("halve", halve(2.0), over="rates")  # E 17

# 18
Pipeline(float).stage("halve", halve).end_loop()  # E 18
Pipeline(x=float).stage("halve", halve).break_if(lambda ctx: ctx.x > 1)  # E 18
Pipeline(x=float).loop_while(lambda ctx: ctx.x > 1).stage("halve", halve).through(x=float).compile()  # E 18
(
    Pipeline(float).loop_while(lambda x: x > 1).stage("halve", halve).end_loop().end_loop()  # E 18
)

# 19
Pipeline(int).stage("float", to_float).compile().run("a")  # E 19
Pipeline(int).stage("float", to_float).compile()()  # E 19
Pipeline(int).stage("float", to_float).compile().run(x=1)  # E 19
