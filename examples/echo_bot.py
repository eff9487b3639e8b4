"""Answers each message with the same words. See examples/README.md for how to run it."""

from kurir_client.bot import Bot, Incoming

bot = Bot("./shop")


@bot.message
async def answer(message: Incoming) -> None:
    await message.reply(f"You said: {message.text}")


bot.run()
