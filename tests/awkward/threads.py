"""Trains in the main thread, in a thread, in asyncio, and in a thread that outlives the main one."""

import asyncio
import threading

from training import step


def outlive(main_thread):
    main_thread.join()
    for number in range(3):
        step(f"main is gone, {number}")


async def train(name):
    for number in range(2):
        step(f"{name} {number}")
        await asyncio.sleep(0)


async def both():
    await asyncio.gather(train("a"), train("b"))


thread = threading.Thread(target=step, args=("in a thread",))
thread.start()
thread.join()
asyncio.run(both())
print(threading.current_thread() is threading.main_thread(), threading.main_thread().name)
threading.Thread(target=outlive, args=(threading.current_thread(),)).start()
step("main ends")
