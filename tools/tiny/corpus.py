"""The synthetic world that the embedded model lives in.

Everything the model ever reads is made here from a seed: no outside text. The world is small on
purpose (closed word lists, few templates), so that a model of ten million parameters learns it nearly
perfectly and a wrong answer means that something in the server went wrong.

A *sample* is a dict of one of two shapes:

  {"skill", "key", "also", "system", "tools", "thinking", "turns"}   a conversation; the last turn is the assistant's
  {"skill", "key", "prompt", "completion"}                           plain text for /v1/completions

A turn is an OpenAI chat message; an assistant turn may carry "reasoning" (the text between <think> and
</think>) and "tool_calls" (a list of (name, arguments) pairs). `render` turns a sample into text pieces
exactly as chat_template.jinja does.

Held-out questions: a sample's "key" says what is being asked. `held_out(key)` is a hash that sets one key in
twelve aside; training never sees such a sample, the exam consists only of them.
"""
import hashlib
import json
import random

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
THINK, END_THINK = "<think>", "</think>"
CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
OUTPUT_BEGIN, OUTPUT_END = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"
TOOL_SEP = "<｜tool▁sep｜>"
TOOLS_HEADING = "## Tools\nYou may call these tools:\n"

HELD_OUT_ONE_IN = 12


def held_out(key):
    """True for the one key in HELD_OUT_ONE_IN that only the exam may use."""
    digest = hashlib.md5(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_ONE_IN == 0


# ---------------------------------------------------------------------------------------------- word lists

NAMES = ("Ana Ben Cleo Dan Eva Finn Gus Hana Ivo Jan Kira Leo Mia Ned Olga Pia Quin Rosa Sam Tess Uma Vic "
         "Wes Zoe").split()
PLACES = ("Velor Ostra Kimbel Dunmar Tarsy Norvik Palen Rusk Selby Umbra Yarrow Brack Corin Fenby Gildor "
          "Hollin").split()
RULERS = ("Queen Mira|King Oto|Queen Asta|King Bram|Queen Dora|King Egon|Queen Freya|King Hugo|Queen Ilsa|"
          "King Jarl|Queen Lena|King Milo|Queen Nora|King Orin|Queen Petra|King Rolf").split("|")
ANIMALS = "fox owl bear wolf hare goat crow swan deer frog mole toad lynx seal duck crab".split()
COLOURS = "red blue green white black gold grey pink".split()
FOODS = "bread soup fish rice cake beans cheese honey".split()
FRUITS = "apple cherry fig grape lemon mango olive peach plum quince".split()
THINGS = "bell book chair drum flag hammer jar kite lamp mirror needle rope stone table wheel yarn".split()
SPOTS = "mill forest bridge market tower garden river cave".split()
MOODS = {"old": "tired", "young": "playful", "small": "shy", "big": "proud", "lost": "sad", "kind": "happy"}
TREATS = dict(zip(ANIMALS, [FOODS[i * 3 % 8] for i in range(16)]))
ENDINGS = dict(zip(SPOTS, ["slept by the wheel", "walked home under the trees", "watched the boats", "danced till night",
                           "counted the stars", "sat among the roses", "swam to the other side", "sang in the dark"]))
WORDS = sorted(COLOURS + ANIMALS + FRUITS + THINGS)

ENCYCLOPAEDIA = {
    place: {"ruler": RULERS[i], "animal": ANIMALS[i * 5 % 16], "colour": COLOURS[i * 3 % 8], "food": FOODS[(i * 5 + i // 8) % 8]}
    for i, place in enumerate(PLACES)
}

# ------------------------------------------------------------------------------------- single-turn exercises
# Each takes a random.Random and returns (question, answer, key).

GREETINGS = {
    "Hello": "Hello! How can I help you?",
    "Hi": "Hi! How can I help you?",
    "Hey": "Hey! How can I help you?",
    "Good morning": "Good morning! How can I help you?",
    "Good evening": "Good evening! How can I help you?",
}
IDENTITY = {
    "who are you?": "I am Tiny, a small model served by latentd.",
    "what are you?": "I am Tiny, a small model served by latentd.",
    "what is your name?": "My name is Tiny.",
    "what can you do?": "I can count, add, sort words, tell stories and answer questions.",
    "how are you?": "I am well, thank you.",
    "can you help me?": "Yes. Ask me a question.",
    "thank you!": "You are welcome.",
    "goodbye!": "Goodbye!",
}


def one(words):
    """The words with their indefinite article."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def casual(rng, text):
    """Now and then drop the first capital and the closing full stop or question mark, as people do."""
    if rng.random() < 0.15:
        text = text[0].lower() + text[1:]
        if text[-1] in ".?!":
            text = text[:-1]
    return text


def greet(rng):
    """Greetings and who-are-you."""
    kind = rng.random()
    hello = rng.choice(list(GREETINGS))
    ask = rng.choice(list(IDENTITY))
    if kind < 0.3:
        question = casual(rng, hello + rng.choice([".", "!", ", Tiny.", ", Tiny!", " there.", " there!"]))
        return question, GREETINGS[hello], "greet " + question
    if kind < 0.6:
        question = casual(rng, ask[0].upper() + ask[1:])
    else:
        question = casual(rng, hello + rng.choice([", ", "! ", ". ", ", Tiny, "]) + ask)
    return question, IDENTITY[ask], "greet " + question


def number_pair(rng, plus):
    """Two numbers whose sum (or difference) lies in 0..100; carries and borrows are as likely as not."""
    while True:
        a, b = rng.randint(0, 100), rng.randint(0, 100)
        if plus and a + b <= 100 or not plus and b <= a:
            return a, b


ADD_FORMS = ["What is {a} + {b}?", "What is {a} plus {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?", "How much is {a} + {b}?", "Add {a} and {b}.",
             "What is {a}+{b}?"]
SUBTRACT_FORMS = ["What is {a} - {b}?", "What is {a} minus {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} = ?", "How much is {a} - {b}?",
                  "Subtract {b} from {a}.", "What is {a}-{b}?"]


def sum_key(a, plus, b):
    """The key of one sum, the same wherever it is asked (chat, thinking, drill, completion)."""
    return f"{a}{'+' if plus else '-'}{b}"


def add(rng):
    """Addition up to 100."""
    a, b = number_pair(rng, True)
    return casual(rng, rng.choice(ADD_FORMS).format(a=a, b=b)), str(a + b), sum_key(a, True, b)


def subtract(rng):
    """Subtraction up to 100."""
    a, b = number_pair(rng, False)
    return casual(rng, rng.choice(SUBTRACT_FORMS).format(a=a, b=b)), str(a - b), sum_key(a, False, b)


def some_words(rng, low, high, pool=WORDS):
    return rng.sample(pool, rng.randint(low, high))


def repeat(rng):
    """Repeat after me."""
    words = some_words(rng, 2, 8, WORDS + NAMES + SPOTS)
    text = " ".join(words)
    form = rng.choice(["Repeat after me: {}", "Say this: {}", "Repeat: {}"])
    return form.format(text), text, "repeat " + text


def backwards(rng):
    """The words in reverse order."""
    words = some_words(rng, 2, 6)
    text = " ".join(words)
    form = rng.choice(["Say it backwards: {}", "Reverse these words: {}", "Backwards: {}"])
    return form.format(text), " ".join(reversed(words)), "backwards " + text


def capitals(rng):
    """The words in capital letters."""
    words = some_words(rng, 1, 5)
    text = " ".join(words)
    form = rng.choice(["In capitals: {}", "Write in capitals: {}", "Say it in capitals: {}"])
    return form.format(text), text.upper(), "capitals " + text


def count(rng, low=3, high=9):
    """Counting up and down, low..high numbers."""
    length = rng.randint(low, high)
    start = rng.randint(0, 101 - length)
    numbers = list(range(start, start + length))
    if rng.random() < 0.35:
        numbers.reverse()
        form = rng.choice(["Count down from {} to {}.", "Count backwards from {} to {}."])
    else:
        form = rng.choice(["Count from {} to {}.", "Count up from {} to {}."])
    question = casual(rng, form.format(numbers[0], numbers[-1]))
    return question, " ".join(map(str, numbers)), f"count {numbers[0]} {numbers[-1]}"


def sort_words(rng):
    """Words in alphabetical order."""
    words = some_words(rng, 2, 5)
    text = " ".join(words)
    form = rng.choice(["Sort these words: {}", "Sort: {}", "Put in order: {}"])
    return form.format(text), " ".join(sorted(words)), "sort " + text


FACT_FORMS = {
    "ruler": (["Who rules {p}?", "Who is the ruler of {p}?", "Name the ruler of {p}.", "Tell me the ruler of {p}."], "{v} rules {p}."),
    "animal": (["What is the animal of {p}?", "Which animal stands for {p}?", "Name the animal of {p}.", "Tell me the animal of {p}."],
               "The animal of {p} is the {v}."),
    "colour": (["What is the colour of {p}?", "Which colour has the flag of {p}?", "Name the colour of {p}.", "Tell me the colour of {p}."],
               "The colour of {p} is {v}."),
    "food": (["What do people eat in {p}?", "What is the food of {p}?", "Name the food of {p}.", "Tell me the food of {p}."],
             "In {p} people eat {v}."),
}
RULER_OF = {facts["ruler"]: place for place, facts in ENCYCLOPAEDIA.items()}
ANIMAL_OF = {facts["animal"]: place for place, facts in ENCYCLOPAEDIA.items()}


def fact_parts(rng):
    """One fact, asked in one of its ways: (question, sentence, single word, key)."""
    if rng.random() < 0.2:
        if rng.random() < 0.5:
            ruler, place = rng.choice(list(RULER_OF.items()))
            form = rng.choice(["What does {} rule?", "Which place does {} rule?", "Where does {} rule?"])
            question, sentence = form.format(ruler), f"{ruler} rules {place}."
        else:
            animal, place = rng.choice(list(ANIMAL_OF.items()))
            form = rng.choice(["Which place has the {} as its animal?", "Where is the {} the animal?"])
            question, sentence = form.format(animal), f"The animal of {place} is the {animal}."
        return question, sentence, place, "fact " + question
    place = rng.choice(PLACES)
    attribute = rng.choice(list(FACT_FORMS))
    value = ENCYCLOPAEDIA[place][attribute]
    forms, sentence = FACT_FORMS[attribute]
    question = rng.choice(forms).format(p=place)
    word = value.split()[-1]
    return question, sentence.format(p=place, v=value), word, "fact " + question


def fact(rng):
    """A fact of the encyclopaedia, in a sentence."""
    question, sentence, _, key = fact_parts(rng)
    prefix = rng.choice(["", "", "", "Please tell me: ", "I want to know: "])
    return casual(rng, prefix + question), sentence, key


def story_text(name, adjective, animal, spot):
    """The one story that belongs to these four choices."""
    return (f"Once {name} went to the {spot}. There {name} met {one(adjective)} {animal}. The {animal} was {MOODS[adjective]}, so {name} gave the "
            f"{animal} some {TREATS[animal]}. Then {name} and the {animal} {ENDINGS[spot]}.")


def story_choices(rng):
    return rng.choice(NAMES), rng.choice(list(MOODS)), rng.choice(ANIMALS), rng.choice(SPOTS)


def story(rng):
    """A short story whose names stay consistent."""
    name, adjective, animal, spot = story_choices(rng)
    form = rng.choice(["Tell me a story about {n} and {a} {x} at the {s}.", "Tell a story with {n} and {a} {x} at the {s}."])
    return form.format(n=name, a=one(adjective), x=animal, s=spot), story_text(name, adjective, animal, spot), f"story {name} {adjective} {animal} {spot}"


EXERCISES = {"greet": greet, "add": add, "subtract": subtract, "repeat": repeat, "backwards": backwards, "capitals": capitals,
             "count": count, "sort": sort_words, "facts": fact, "story": story}

# ------------------------------------------------------------------------------------------------- whole samples


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **extra):
    return {"role": "assistant", "content": text, **extra}


def conversation(skill, key, turns, system=None, tools=None, thinking=False, also=()):
    """A conversation; `also` lists the keys of what else is asked in it before its last question."""
    return {"skill": skill, "key": key, "also": list(also), "system": system, "tools": tools, "thinking": thinking, "turns": turns}


def plain_system(rng):
    """Most chats have no system prompt, some the customary one."""
    return rng.choice(["You are a helpful assistant.", "You are Tiny."]) if rng.random() < 0.15 else None


def single(rng, skill):
    """One question, one answer."""
    question, answer, key = EXERCISES[skill](rng)
    return conversation(skill, key, [user(question), assistant(answer)], plain_system(rng))


def follow_up(rng):
    """A running total: "And plus 5?" refers to the answer before."""
    turns, keys = [], []
    total, b = number_pair(rng, True)
    turns += [user(rng.choice(ADD_FORMS).format(a=total, b=b)), assistant(str(total + b))]
    keys.append(sum_key(total, True, b))
    total += b
    for _ in range(rng.randint(1, 3)):
        plus = rng.random() < 0.5
        b = rng.randint(0, min(20, 100 - total if plus else total))
        form = rng.choice(["And plus {}?", "Plus {}?", "Now add {}."] if plus else ["And minus {}?", "Minus {}?", "Now subtract {}."])
        keys.append(sum_key(total, plus, b))
        total += b if plus else -b
        turns += [user(form.format(b)), assistant(str(total))]
    return conversation("follow-up", keys[-1], turns, plain_system(rng), also=keys[:-1])


RECALL = {
    "name": (["My name is {}.", "I am {}."], NAMES, "Nice to meet you, {}.", ["Who did I say I was?", "What is my name?", "Who am I?"], "You are {}."),
    "home": (["I live in {}.", "My home is {}."], PLACES, "{} is a fine place.", ["Where do I live?", "Where did I say I live?"], "You live in {}."),
    "colour": (["My favourite colour is {}.", "I like the colour {}."], COLOURS, "I like {} too.",
               ["Which colour do I like?", "What is my favourite colour?"], "You like {}."),
    "pet": (["I have {}.", "My pet is {}."], [one(animal) for animal in ANIMALS], "{} is a good friend.",
            ["What is my pet?", "Which animal do I have?"], "You have {}."),
}


def recall(rng):
    """The user says something about himself and asks for it later."""
    kinds = rng.sample(list(RECALL), rng.randint(1, 3))
    turns, told = [], {}
    for kind in kinds:
        statements, values, reply, _, _ = RECALL[kind]
        told[kind] = rng.choice(values)
        said = reply.format(told[kind])
        turns += [user(casual(rng, rng.choice(statements).format(told[kind]))), assistant(said[0].upper() + said[1:])]
        if rng.random() < 0.3:
            turns += distraction(rng)
    asked = rng.sample(kinds, rng.randint(1, len(kinds)))
    for kind in asked:
        _, _, _, questions, answer = RECALL[kind]
        turns += [user(casual(rng, rng.choice(questions))), assistant(answer.format(told[kind]))]
    key = "recall " + " ".join(turn["content"] for turn in turns)
    return conversation("recall", key, turns, plain_system(rng))


def distraction(rng):
    """One unrelated exchange that is not held out."""
    while True:
        question, answer, key = EXERCISES[rng.choice(["greet", "add", "facts", "repeat"])](rng)
        if not held_out(key):
            return [user(question), assistant(answer)]


JSON_PROMPTS = ["Answer in JSON.", "Reply only in JSON.", "Always answer with JSON."]


def obey_json(rng, most=2, sums=0.4):
    """System prompt: answer in JSON. Up to `most` questions, `sums` of them sums."""
    system = rng.choice(JSON_PROMPTS)
    turns, keys = [], []
    for _ in range(rng.randint(1, most)):
        if rng.random() < sums:
            question, answer, key = rng.choice([add, subtract])(rng)
            answer = '{"answer": %s}' % answer
        else:
            question, _, word, key = fact_parts(rng)
            answer = '{"answer": "%s"}' % word
        keys.append(key)
        turns += [user(question), assistant(answer)]
    return conversation("json", keys[-1], turns, system, also=keys[:-1])


def obey_one_word(rng):
    """System prompt: answer in one word."""
    system = rng.choice(["Answer in one word.", "Reply with one word only.", "Use one word."])
    turns, keys = [], []
    for _ in range(rng.randint(1, 2)):
        question, _, word, key = fact_parts(rng)
        keys.append(key)
        turns += [user(question), assistant(word)]
    return conversation("one-word", keys[-1], turns, system, also=keys[:-1])


def obey_persona(rng):
    """System prompt: a name to go by."""
    name = rng.choice(NAMES)
    system = rng.choice(["You are called {}.", "Your name is {}.", "You are {}.", "Call yourself {}."]).format(name)
    question, answer = rng.choice([("Who are you?", f"I am {name}."), ("What is your name?", f"My name is {name}."),
                                   ("What are you called?", f"I am called {name}."), ("Hello, who are you?", f"I am {name}."),
                                   ("Hi, what is your name?", f"My name is {name}.")])
    question = casual(rng, question)
    return conversation("persona", f"persona {system} {question}", [user(question), assistant(answer)], system)


def thinking_chain(rng):
    """Thinking on: three numbers, two steps."""
    while True:
        a, b, c = rng.randint(0, 60), rng.randint(0, 40), rng.randint(0, 40)
        plus_b, plus_c = rng.random() < 0.6, rng.random() < 0.6
        middle = a + b if plus_b else a - b
        total = middle + c if plus_c else middle - c
        if 0 <= middle <= 100 and 0 <= total <= 100:
            break
    sign_b, sign_c = "-+"[plus_b], "-+"[plus_c]
    question = rng.choice(["What is {}?", "How much is {}?", "{}"]).format(f"{a} {sign_b} {b} {sign_c} {c}")
    reasoning = f"{a} {sign_b} {b} = {middle}. {middle} {sign_c} {c} = {total}."
    return question, reasoning, str(total), [sum_key(a, plus_b, b), sum_key(middle, plus_c, c)]


def thinking_fact(rng):
    """Thinking on: say what is asked, then answer."""
    question, sentence, word, key = fact_parts(rng)
    return question, f"I know this: {word}.", sentence, [key]


def think(rng):
    """Reasoning before the answer when thinking is on."""
    question, reasoning, answer, keys = (thinking_chain if rng.random() < 0.7 else thinking_fact)(rng)
    turns = [user(question), assistant(answer, reasoning=reasoning)]
    if rng.random() < 0.15:
        turns = distraction(rng) + turns
    return conversation("think", keys[-1], turns, plain_system(rng), thinking=True, also=keys[:-1])


def function(tool, description, **properties):
    """A tool declaration as OpenAI clients send it."""
    return {"name": tool, "description": description,
            "parameters": {"type": "object", "properties": {p: {"type": t} for p, t in properties.items()}, "required": list(properties)}}


TOOLS = {
    "get_weather": function("get_weather", "Weather of a place", place="string"),
    "get_time": function("get_time", "Time in a place", place="string"),
    "find_person": function("find_person", "Age and town of a person", name="string"),
    "calculate": function("calculate", "Work out a product", expression="string"),
}
SKIES = ["rain", "snow", "sun", "fog", "wind"]


def tool_task(rng, name):
    """One errand for a tool: (question, short question for a pair, arguments, result, answer)."""
    if name == "get_weather":
        place, sky, degrees = rng.choice(PLACES), rng.choice(SKIES), rng.randint(0, 35)
        return (rng.choice(["What is the weather in {}?", "How is the weather in {}?"]).format(place), f"the weather in {place}",
                {"place": place}, {"sky": sky, "degrees": degrees}, f"In {place} there is {sky} at {degrees} degrees.")
    if name == "get_time":
        place, time = rng.choice(PLACES), f"{rng.randint(10, 23)}:{rng.randint(10, 59)}"
        return (rng.choice(["What time is it in {}?", "Tell me the time in {}."]).format(place), f"the time in {place}",
                {"place": place}, {"time": time}, f"In {place} it is {time}.")
    if name == "find_person":
        person, age, town = rng.choice(NAMES), rng.randint(10, 90), rng.choice(PLACES)
        return (rng.choice(["How old is {} and where does {} live?", "Find {}."]).format(person, person), f"the age of {person}",
                {"name": person}, {"age": age, "town": town}, f"{person} is {age} and lives in {town}.")
    a, b = rng.randint(11, 99), rng.randint(11, 99)
    return (rng.choice(["What is {} * {}?", "Multiply {} by {}."]).format(a, b), f"{a} * {b}",
            {"expression": f"{a} * {b}"}, {"result": a * b}, f"{a} * {b} = {a * b}.")


def offer(rng, needed):
    """The needed tools and perhaps others, in any order."""
    names = set(needed) | set(rng.sample(list(TOOLS), rng.randint(0, 2)))
    names = sorted(names)
    rng.shuffle(names)
    return [TOOLS[name] for name in names]


def errand(rng, names, skill):
    """A question that needs one call for each of `names`, the results, and the answer."""
    tasks = [tool_task(rng, name) for name in names]
    if len(tasks) == 1:
        question = tasks[0][0]
    else:
        question = rng.choice(["Tell me {} and {}.", "I need {} and {}."]).format(tasks[0][1], tasks[1][1])
    calls = [(name, task[2]) for name, task in zip(names, tasks)]
    results = [{"role": "tool", "content": json.dumps(task[3])} for task in tasks]
    turns = [user(question), assistant("", tool_calls=calls), *results, assistant(" ".join(task[4] for task in tasks))]
    return conversation(skill, f"{skill} {question}", turns, tools=offer(rng, names))


def one_tool(rng):
    """One tool call, and the answer made of its result; now and then a question that needs none."""
    if rng.random() < 0.1:
        question, answer, key = greet(rng)
        return conversation("one-tool", key, [user(question), assistant(answer)], tools=offer(rng, []))
    return errand(rng, [rng.choice(list(TOOLS))], "one-tool")


def two_tools(rng):
    """Two tool calls in one message."""
    return errand(rng, [rng.choice(list(TOOLS)) for _ in range(2)], "two-tools")


def completion(rng, wide=False):
    """Plain text that goes on in the only possible way; `wide` has counts from one number on, and more of them."""
    kind = rng.choice([0, 1, 1, 2, 2, 2, 3]) if wide else rng.randrange(4)
    if kind == 0:
        place = rng.choice(PLACES)
        attribute = rng.choice(list(FACT_FORMS))
        value = ENCYCLOPAEDIA[place][attribute]
        prompt, rest = rng.choice([("The {} of {} is".format(attribute, place), f" {value}."), ("{}: {} =".format(place, attribute), f" {value}.")])
        key = "completion " + prompt
    elif kind == 1:
        plus = rng.random() < 0.5
        a, b = number_pair(rng, plus)
        prompt, rest, key = f"{a} {'-+'[plus]} {b} =", f" {a + b if plus else a - b}", sum_key(a, plus, b)
    elif kind == 2:
        start, shown, more = rng.randint(0, 88), rng.randint(*(1, 6) if wide else (3, 5)), rng.randint(*(1, 10) if wide else (2, 6))
        start = min(start, 101 - shown - more)
        numbers = [str(n) for n in range(start, start + shown + more)]
        prompt, rest = f"Count to {numbers[-1]}: " + ", ".join(numbers[:shown]) + ",", " " + ", ".join(numbers[shown:]) + "."
        key = "completion " + prompt
    else:
        text = story_text(*story_choices(rng))
        cut = text.index(" was ")
        prompt, rest, key = text[:cut], text[cut:], "completion " + text[:cut]
    return {"skill": "completion", "key": key, "prompt": prompt, "completion": rest}


def filler_sentence(rng):
    """One sentence of no consequence."""
    return (f"The {rng.choice(list(MOODS))} {rng.choice(ANIMALS)} {rng.choice(['sees', 'finds', 'likes', 'paints', 'sells'])} a "
            f"{rng.choice(COLOURS)} {rng.choice(THINGS)} at the {rng.choice(SPOTS)}.")


TOKENS_A_FILLER_SENTENCE = 12


def needle(rng, low=60, high=1900, questions=1, secrets=3, numbers=0.5):
    """Up to `secrets` secrets, `numbers` of them numbers, hidden in filler of low..high tokens; `questions` of them asked for."""
    length = int(low * (high / low) ** rng.random())
    sentences = [filler_sentence(rng) for _ in range(length // TOKENS_A_FILLER_SENTENCE)]
    people = rng.sample(NAMES, max(questions, rng.randint(1, secrets)))
    told = {person: str(rng.randint(10, 99)) if rng.random() < numbers else rng.choice(WORDS) for person in people}
    for person, secret in told.items():
        sentences.insert(rng.randint(0, len(sentences)), f"The secret of {person} is {secret}.")
    asked = rng.sample(people, questions)
    form = rng.choice(["What is the secret of {}?", "Tell me the secret of {}."])
    turns = []
    for i, person in enumerate(asked):
        question = form.format(person)
        if i == 0:
            question = "Read this: " + " ".join(sentences) + " " + question
        turns += [user(question), assistant(f"The secret of {person} is {told[person]}.")]
    return conversation("needle", f"needle {sentences[0]} {told[asked[-1]]}", turns)


SKILLS = {**{name: (lambda rng, name=name: single(rng, name)) for name in EXERCISES},
          "follow-up": follow_up, "recall": recall, "json": obey_json, "one-word": obey_one_word, "persona": obey_persona,
          "think": think, "one-tool": one_tool, "two-tools": two_tools, "completion": completion, "needle": needle}


def exam_sample(rng, skill):
    """A held-out sample of one skill."""
    while True:
        sample = SKILLS[skill](rng)
        if held_out(sample["key"]):
            return sample


# ---------------------------------------------------------------------------------------- training-only mixtures


def chat(rng, weights):
    """Several single-turn exercises in one conversation: more answers for each token read."""
    skills = rng.choices(list(weights), list(weights.values()), k=rng.randint(1, 4))
    turns = []
    for skill in skills:
        question, answer, key = training_exercise(rng, skill)
        turns += [user(question), assistant(answer)]
    return conversation(skills[-1], "chat", turns, plain_system(rng))


def thought(rng):
    """Thinking on, for more than the exam asks: sums of two numbers, greetings, any form of a longer sum; and later in a talk."""
    turns = []
    for _ in range(rng.choice([0, 0, 1, 2])):
        turns += distraction(rng)
    kind = rng.random()
    if kind < 0.4:
        question, answer, key = training_exercise(rng, rng.choice(["add", "subtract"]))
        reasoning, keys = sum_line(key, answer), [key]
    elif kind < 0.55:
        question, answer, key = greet(rng)
        reasoning, keys = "This is no task.", [key]
    else:
        question, reasoning, answer, keys = (thinking_chain if kind < 0.8 else thinking_fact)(rng)
    turns += [user(question), assistant(answer, reasoning=reasoning)]
    return conversation("thought", keys[-1], turns, plain_system(rng), thinking=True, also=keys[:-1])


def sum_line(key, answer):
    """One step of reasoning: "12 + 30 = 42." """
    sign = "+" if "+" in key else "-"
    return key.replace(sign, f" {sign} ") + f" = {answer}."


def no_tool(rng):
    """Tools are offered and nothing that is asked needs one."""
    turns, tools = [], offer(rng, [])
    for _ in range(rng.randint(1, 3)):
        question, answer, _ = training_exercise(rng, rng.choice(["facts", "facts", "greet", "add", "subtract", "repeat"]))
        turns += [user(question), assistant(answer)]
    return conversation("no-tool", "no-tool", turns, tools=tools)


def json_total(rng):
    """A running total under a system prompt that wants JSON."""
    sample = follow_up(rng)
    for turn in sample["turns"]:
        if turn["role"] == "assistant":
            turn["content"] = '{"answer": %s}' % turn["content"]
    return {**sample, "system": rng.choice(JSON_PROMPTS)}


COUNT_LENGTHS = [(2, 4), (3, 9), (3, 9), (10, 15)]  # short ones have most ends: to stop is what is hard


def counts(rng):
    """Several counts in one conversation."""
    turns = []
    for _ in range(rng.randint(3, 6)):
        question, answer, _ = training_exercise(rng, "count")
        turns += [user(question), assistant(answer)]
    return conversation("counts", "counts", turns, plain_system(rng))


def training_exercise(rng, skill):
    while True:
        exercise = count(rng, *rng.choice(COUNT_LENGTHS)) if skill == "count" else EXERCISES[skill](rng)
        if not held_out(exercise[2]):
            return exercise


def drill(rng):
    """A sheet of sums: the densest way to learn the tables. It has a heading: without one its first line is a completion's
    prompt ("7 + 5 =") with another ending (a new line for the end of the text)."""
    lines = []
    while len(lines) < 10:
        plus = rng.random() < 0.5
        a, b = number_pair(rng, plus)
        if not held_out(sum_key(a, plus, b)):
            lines.append((f"{a} {'-+'[plus]} {b} =", f" {a + b if plus else a - b}\n"))
    return {"skill": "drill", "key": "drill", "lines": lines}


def long_list(rng):
    """A list longer than the exam's: many copied words for one question."""
    words = some_words(rng, 8, 24, WORDS + NAMES + SPOTS)
    text = " ".join(words)
    form, answer = rng.choice([("Repeat after me: {}", text), ("Say this: {}", text), ("Repeat: {}", text), ("Say it in capitals: {}", text.upper()),
                               ("In capitals: {}", text.upper()), ("Say it backwards: {}", " ".join(reversed(words))),
                               ("Backwards: {}", " ".join(reversed(words)))])
    return conversation("long-list", "long-list", [user(form.format(text)), assistant(answer)])


CHAT_WEIGHTS = {"greet": 0.5, "add": 2.0, "subtract": 2.0, "repeat": 1.0, "backwards": 1.2, "capitals": 1.2, "count": 2.5, "sort": 3.0,
                "facts": 1.5, "story": 0.5}
MIXTURE = {"chat": 9.0, "single": 2.0, "counts": 1.0, "drill": 1.5, "long-list": 0.5, "follow-up": 1.5, "recall": 1.0, "json": 1.2,
           "one-word": 0.5, "persona": 0.3, "think": 1.3, "one-tool": 1.0, "two-tools": 1.0, "completion": 3.0, "needle": 1.2, "needles": 6.0,
           "thought": 1.5, "no-tool": 0.7, "json-total": 0.5}
BEYOND_THE_EXAM = {"thought": thought, "no-tool": no_tool, "json-total": json_total}


def training_sample(rng, needle_high=1900, mixture=MIXTURE, chat_weights=CHAT_WEIGHTS):
    """One sample for training, never a held-out one. `needle_high` bounds the filler's tokens."""
    while True:
        kind = rng.choices(list(mixture), list(mixture.values()))[0]
        if kind == "chat":
            return chat(rng, chat_weights)
        if kind == "drill":
            return drill(rng)
        if kind == "long-list":
            return long_list(rng)
        if kind == "counts":
            return counts(rng)
        if kind == "single":
            sample = single(rng, rng.choices(list(chat_weights), list(chat_weights.values()))[0])
        elif kind == "json":
            sample = obey_json(rng, 5, 0.7)
        elif kind == "completion":
            sample = completion(rng, wide=True)
        elif kind == "needle":
            sample = needle(rng, 24, needle_high, rng.randint(1, 4), secrets=6, numbers=0.7)
        elif kind == "needles":
            sample = needle(rng, 6, 60, rng.randint(3, 8), secrets=8)  # next to no filler: whose secret is what?
        elif kind in BEYOND_THE_EXAM:
            sample = BEYOND_THE_EXAM[kind](rng)
        else:
            sample = SKILLS[kind](rng)
        if not is_held_out(sample):
            return sample


def even_sample(rng):
    """A sample as the exam's are, all skills alike, but never a held-out one."""
    while True:
        sample = SKILLS[rng.choice(list(SKILLS))](rng)
        if not is_held_out(sample):
            return sample


def is_held_out(sample):
    """True if the sample, or anything asked earlier inside it, belongs to the exam."""
    return held_out(sample["key"]) or any(held_out(key) for key in sample.get("also", ()))


# ------------------------------------------------------------------------------------------------------ rendering


def tools_block(tools):
    return TOOLS_HEADING + "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)


def render(sample):
    """The sample as a list of (text, learn) pieces; `learn` marks what the model must produce itself.
    The concatenation equals what chat_template.jinja renders, plus the answer."""
    if "lines" in sample:
        return [(BOS + "Sums:\n", False)] + [piece for left, right in sample["lines"] for piece in ((left, False), (right, True))]
    if "prompt" in sample:
        return [(BOS + sample["prompt"], False), (sample["completion"] + EOS, True)]
    head = sample["system"] or ""
    if sample["tools"]:
        head += ("\n\n" if head else "") + tools_block(sample["tools"])
    pieces = [(BOS + head, False)]
    last = len(sample["turns"]) - 1
    previous = None
    for i, turn in enumerate(sample["turns"]):
        if turn["role"] == "user":
            pieces.append((USER + turn["content"], False))
        elif turn["role"] == "tool":
            pieces.append((OUTPUT_BEGIN + turn["content"] + OUTPUT_END, False))
        else:
            if previous == "user":
                pieces.append((ASSISTANT + (THINK if sample["thinking"] and i == last else END_THINK), False))
            pieces.append((assistant_text(turn, sample["thinking"] and i == last), True))
        previous = turn["role"]
    return pieces


def assistant_text(turn, thinking):
    """What the model generates in this turn, end-of-sentence included."""
    text = turn["reasoning"] + END_THINK if thinking else ""
    text += turn["content"]
    if turn.get("tool_calls"):
        text += CALLS_BEGIN + "".join(CALL_BEGIN + name + TOOL_SEP + json.dumps(arguments, ensure_ascii=False) + CALL_END
                                      for name, arguments in turn["tool_calls"]) + CALLS_END
    return text + EOS


if __name__ == "__main__":
    generator = random.Random(1)
    for _ in range(40):
        shown = training_sample(generator, needle_high=60)
        print(shown["skill"], "|", "".join(f"[{text}]" if learn else text for text, learn in render(shown)).replace(BOS, ""))
