"""Contrast pairs for toxicity: hate without swear words, and harmless texts with all its words.

The hateful sentences exist so that a filter learns to stop them; they use group names and no slurs
beyond what the corpora hold already.
"""

from __future__ import annotations

import random

from ..labels import TOXICITY
from .grammar import Slots, capital, expand, pick

SLOTS: Slots = {
    "group": ["women", "gay people", "trans people", "Muslims", "Jews", "black people", "immigrants", "refugees",
              "disabled people", "Asians", "Mexicans", "Christians", "lesbians", "Roma", "foreigners", "Arabs",
              "Indians", "Africans", "Hindus", "old people", "autistic people", "Chinese people", "blind people",
              "Pakistanis", "queer folks", "bisexuals", "Romanians", "deaf people", "asylum seekers", "people of colour"],
    "person": ["woman", "gay man", "trans woman", "Muslim", "Jew", "black man", "immigrant", "refugee", "disabled person",
               "Asian", "Mexican", "lesbian", "foreigner", "Arab", "Christian", "Indian", "Hindu", "wheelchair user",
               "nonbinary person", "bisexual", "deaf person", "Syrian", "African", "Latina"],
    "vermin": ["rats", "cockroaches", "parasites", "animals", "vermin", "a disease", "a plague", "trash", "scum",
               "apes", "pigs", "leeches", "maggots", "subhuman", "snakes", "a cancer", "dogs", "filth", "garbage"],
    "bad": ["stupid", "disgusting", "inferior", "lazy", "dangerous", "dirty", "mentally ill", "worthless", "criminals",
            "liars", "thieves", "terrorists", "a burden", "unnatural", "less intelligent", "evil", "not real people",
            "unfit to lead", "good for nothing", "a threat to our children", "freeloaders", "perverts", "a mistake"],
    "harm": ["be deported", "be locked up", "be wiped out", "not be allowed to vote", "not have children", "be shot",
             "go back where they came from", "be put in camps", "stay in the kitchen", "not be allowed near our kids",
             "be banned from our country", "know their place", "be hanged", "disappear", "be sterilised",
             "be kept apart from normal people", "never be hired", "drown"],
    "polite": ["with all due respect,", "no offence, but", "I'm not prejudiced, but", "let's be honest,", "as a matter of fact,",
               "it is only my humble opinion that", "science shows that", "I have nothing against them, but", "statistically,",
               "sorry to say, but", "call me old-fashioned, but", "I'm just asking questions:", "everyone knows that",
               "deep down we all agree that", "dear friends, it pains me to say that", "to put it kindly,"],
    "good": ["kind", "welcome here", "our neighbours", "equal before the law", "part of this town", "great colleagues",
             "proud of their families", "as smart as anyone", "human beings", "brave", "my friends", "underrepresented in films",
             "protected by the constitution", "celebrating today", "amazing parents", "entitled to respect"],
    "job": ["doctor", "teacher", "plumber", "mayor", "pilot", "nurse", "neighbour", "engineer", "goalkeeper", "judge"],
    "thing": ["traffic", "this weather", "Mondays", "broccoli", "my old printer", "this update", "pineapple on pizza",
              "the new interface", "mosquitoes", "this bug", "the queue", "cold coffee", "spreadsheets", "my alarm clock"],
    "badmoji": ["🐒", "🐀", "🪳", "🤮", "🐷", "💩", "🗑️", "🐍", "🦠", "🐕", "🤡", "🐵", "🐖", "🦗", "🧟"],
    "killmoji": ["🔫", "🔪", "💣", "⚰️", "🔥", "🪓", "☠️", "🧨", "🚿", "🗡️"],
    "sickmoji": ["🤮", "🤢", "😡", "🖕", "👎", "🙄", "😠", "🤬"],
    "groupmoji": ["🏳️‍🌈", "🧕", "👳", "🕌", "🕍", "✡️", "♿", "👩🏿", "🧑🏿", "👲", "👭", "👬", "🏳️‍⚧️", "☪️", "👩‍🦽"],
    "familymoji": ["👨‍👩‍👧‍👦", "👩‍👩‍👦", "👨‍👧", "👪", "👨‍👨‍👧", "👩‍👧‍👦", "👶", "👵👴", "🧑‍🤝‍🧑", "👩‍❤️‍👨", "👩🏽‍🍳", "👨🏾‍🏫", "🧑🏻‍🚀", "🏳️‍🌈", "🧕", "♿"],
    "nicemoji": ["❤️", "😊", "🎉", "🙏", "👍", "🥰", "✨", "🤗", "💪", "🌈", "😍", "👏"],
}

HATE = [
    "{group} are {vermin}", "{polite} {group} are {bad}", "{group} should {harm}", "all {group} should {harm}",
    "I hate {group}", "{polite} {group} should {harm}", "{polite} {group} are {vermin}", "you can't trust {group}",
    "why do {group} even exist?", "is there anything worse than {group}?", "wouldn't the world be better without {group}?",
    "no {person} should ever be a {job}", "a {person} will never be one of us", "{group} don't deserve rights",
    "we don't need any more {group} here", "I would never hire a {person}, they are {bad}", "{group} ruin everything they touch",
    "that {person} is {vermin}, they all are", "nobody would miss {group} if they were gone", "I feel sick when I see a {person}",
    "keep {group} away from our schools", "a good {person} is a dead {person}", "if you meet a {person}, hide your wallet",
    "{group} are {bad}. There, I said it.", "you are just a {person}, your opinion does not count", "what do you expect from a {person}? They are {bad}",
    "I am not saying {group} are {bad}, but they are not like us and should {harm}", "imagine being so {bad} that you are a {person}",
    "{group} are only here to take what is ours", "it is not normal to be a {person}", "being a {person} is a disease that needs a cure",
    "{group} belong behind bars, not on our streets", "they let a {person} be a {job}? what a joke, they are {bad}",
    "our town was lovely before the {group} came", "{group}? I'd rather have {vermin} next door", "there is no such thing as a decent {person}",
    "people like us must be protected from {group}", "it's a shame that {group} are allowed to breed", "{group} have never achieved anything",
    "{group} have no place in a civilised society", "I wish all {group} would just vanish", "a world without {group} is a better world",
    "never trust a {person}, especially one who smiles", "{group} breed like rabbits and live off our taxes", "why would anyone let a {person} teach children?",
    "it should be legal to fire people for being a {person}", "if I were in charge, {group} would {harm} tomorrow", "typical {person} behaviour, what else did you expect",
    "{group} are to blame for everything that goes wrong here", "send every last one of the {group} back", "you can smell {group} before you see them",
    "even a dog is smarter than a {person}", "we laughed so hard when that {person} got what they deserved", "the only thing {group} are good at is stealing",
    "I cannot stand being near {group}", "real men would never respect a {person}", "marrying a {person} is a disgrace to your family",
    "don't let your daughter date a {person}", "{group} are not fully human, and history proves it", "how about we treat {group} like the {vermin} they are",
    "there are too many {group} on TV, it makes me sick", "{group} want to replace us, stop them now", "somebody needs to teach the {group} a lesson",
    "yet another {person} begging for attention, how {bad}", "you're pretty clever for a {person}", "not surprised, {group} always lie", "disabled or not, that {person} is a waste of air",
    "I don't hate {group}, I just think that they should {harm}", "thank goodness there are no {group} in my street", "rid this land of {group}",
    "{group} are the reason why I carry a gun", "she only got the job because she is a {person}, they are all {bad}", "my dog has better manners than those {group}",
    "of course she failed, she is a {person}", "God made a mistake when he made {group}", "make our country great: {group} should {harm}",
    "look at those {group}. They are {vermin}, nothing else.", "a {person} moved in next door. Time to teach them a lesson.", "{group}... I can't even look at them without feeling sick",
    "nobody asked for {group}, and nobody will miss them", "how can anyone love a {person}?", "who let the {group} in? Get them out", "would you trust your money to {group}? Exactly.",
    "{group} do not belong in the same room as us", "the world owes {group} nothing but contempt", "not one of the {group} I met was worth the air they breathe", "{group} are never going to be equal to us, get over it",
    "there should be a tax on being a {person}", "no wonder they failed, the whole team is {group}", "I moved away because of the {group}, they are {bad}", "every {person} I know is {bad}. Every single one.",
    "it's a fact of nature that {group} are {bad}", "you don't look like a {person}, you're actually nice", "{group} can't help it, they are born {bad}", "a country full of {group} is no country",
    "a {person} is not a real {job}", "if {group} vanished overnight the streets would be clean", "I'd be ashamed to be seen with a {person}", "my kids won't share a class with {group}",
    "say what you like, {group} are all {vermin}", "{group} deserve everything that is coming to them", "let us get rid of {group} once and for all", "I refuse to be served by a {person}", "we should treat {group} the way you treat {vermin}",
    "the fewer {group}, the better", "{group} love to play the victim, but they are {bad}", "being nice to {group} was our biggest mistake", "give me one reason not to despise {group}", "ugh, {group} again. {vermin}.",
    "you'd have to be {bad} to be friends with a {person}", "hiding behind rights, that is all {group} do", "a {person} has no business voting", "stop pretending that {group} are human", "I laughed when I heard that {group} should {harm}; about time",
    "{group} have no culture, only noise", "never seen a {person} who was not {bad}", "the {group} next door make me want to move to another planet", "{group} are like {vermin}: you see one, there are a hundred more",
]

THREATS = [
    "I will find you and hurt you", "next time I see a {person} I will {punch}", "someone should {punch} every {person}",
    "you had better watch your back, {person}", "I'm going to {punch} you and your family", "{group} will burn",
    "say that again and I'll {punch} you", "let's go out and {punch} some {group}", "your house will burn tonight",
    "I hope somebody will {punch} you soon",
]
SLOTS["punch"] = ["kill", "beat up", "stab", "shoot", "punch", "strangle", "run over", "burn"]

EMOJI_HATE = [
    "{group} are {badmoji}", "look at these {badmoji} {groupmoji}", "{groupmoji} = {badmoji}", "{group} make me {sickmoji}",
    "send all {group} to the {killmoji}", "{killmoji} to all {groupmoji}", "I see {groupmoji} and I {sickmoji}",
    "a {person} as {job}? {sickmoji}{sickmoji}", "time to {killmoji} the {group}", "that {person} is such a {badmoji}",
    "{group} 👉 {badmoji}", "when I see a {person} I think {badmoji}{badmoji}", "get rid of the {badmoji} {groupmoji}", "{groupmoji} are not welcome in my country {sickmoji}",
    "my neighbour is a {person} {sickmoji} time to move", "{killmoji}{killmoji} that's what {group} deserve", "the only good {groupmoji} is a ⚰️ one", "a {person} is just a {badmoji} in clothes",
    "keep your {groupmoji} agenda away from our kids {sickmoji}", "they brought the {badmoji} with them, those {group}", "I'd {killmoji} every {person} I meet", "{group}? more like {badmoji} 😂",
    "{group} smell like {badmoji}", "who invited the {badmoji}? oh, it's just a {person}", "my 🐕 has more brains than a {person}", "{groupmoji}{groupmoji} ruin our 🏫", "{group} to the 🗑️ where they belong",
    "imagine kissing a {person} {sickmoji}{sickmoji}", "no jobs for {groupmoji} 🙅", "{group} make 🌍 worse",
    "{groupmoji} should go ✈️🏠 and never come back", "{groupmoji} 🟰 {badmoji}{badmoji}", "hate {groupmoji} so much {sickmoji}", "{groupmoji} {killmoji} {killmoji}", "not a fan of {groupmoji} {badmoji}", "{group} are so {badmoji} I could {sickmoji}",
    "put {groupmoji} in a 🚀 and send them away", "{person}? {sickmoji} no thanks", "oh look, {groupmoji}. Where is my {killmoji}?", "{groupmoji} can't be trusted 🐍", "you are a {badmoji} because you are a {person}", "the {job} said no {groupmoji} 👏 finally",
    "🌍 without {groupmoji} = {nicemoji}", "{groupmoji} don't deserve {nicemoji}", "{groupmoji} belong in a 🗑️, not in a 🏫", "imagine being {groupmoji} {sickmoji}", "my {badmoji} is smarter than {groupmoji}", "{group} in our town {sickmoji} {badmoji} everywhere",
    "I'd rather live with {badmoji} than with {group}", "no {groupmoji} allowed here 🚫", "dear {groupmoji}, nobody wants you {sickmoji}",
]

HARMLESS = [
    "{group} are {good}", "I love {group}", "{group} are not {bad}", "{group} are not {vermin}, they are {good}",
    "nobody should say that {group} are {vermin}", "saying '{group} are {bad}' is wrong", "people who claim that {group} should {harm} are mistaken",
    "it is racist to think that {group} are {bad}", "my uncle said '{group} are {bad}' and I told him to stop",
    "the post read \"{group} should {harm}\" and was rightly removed", "no one has the right to tell {group} to {harm}",
    "I am a {person} and I am proud of it", "as a {person}, I was called {vermin} at school; it still hurts",
    "why do some people think {group} are {bad}? It makes no sense", "we must stop the hate against {group}",
    "my {job} is a {person} and the best I have ever had", "the {person} next door is a {job}", "{group} deserve the same rights as everybody",
    "the film shows how {group} were treated as {vermin} in the war", "he was convicted of shouting that {group} should {harm}",
    "how can I support {group} in my town?", "a report on crimes against {group} was published", "{group} have always been {good}",
    "if you say that a {person} is {bad} you have lost the argument", "I hate {thing}", "{thing} should be banned",
    "{thing} is the worst, I want to scream", "I could kill for a coffee right now", "this {thing} kills me, lol",
    "I would never say that {group} are {bad}", "who still believes that {group} are {vermin}? shame on them",
    "we queer folks are {good} and we are here to stay", "happy to be a {person} today", "there were {group} and tourists at the festival",
    "the court ruled that {group} are {good}", "what does the Bible say about {group}?", "are {group} {good} in your country?",
    "it hurts when strangers tell me to {harm} because I am a {person}", "the bomb killed ten people, among them a {person}",
    "that bass line is sick, these women killed it on stage", "damn, this {thing} again", "not all {group} like {thing}, obviously",
    "hating {group} is never acceptable", "imagine a world where no {person} is told to {harm}", "do not call {group} {vermin}",
    "I was told to {harm} because I am a {person}. I reported it.", "why do you hate {group}? They did nothing to you", "some people call {group} {vermin}. I call them neighbours.",
    "being a {person} is not a crime", "I stand with {group}", "the museum shows letters written by {group} during the war", "the teacher asked us why {group} were once called {vermin}",
    "the word {vermin} was used against {group} in propaganda", "no, {group} should not {harm}", "it's a lie that {group} are {bad}", "calling someone {vermin} because they are a {person} is vile",
    "I used to think that {group} are {bad}; I was wrong and I am sorry", "shops that refuse {group} break the law", "my landlord said no {group}. Is that legal?",
    "there is nothing wrong with being a {person}", "the {person} who saved the child was honoured by the town", "I want more films about {group}", "we hired a {person} as {job}; best decision ever",
    "as a {person} I love {thing}", "she wrote a book about growing up as a {person}", "I despise people who hate {group}", "everyone who says {group} should {harm} can leave my page",
    "I'm sick of {thing}", "what an awful day: {thing} again", "kill the process and restart {thing}", "{thing} can go to hell, honestly", "who invented {thing}? terrible idea",
    "the fight scene with the knife was great", "how did {group} vote in the last election?", "statistics on {group} in the labour market", "recipes from {group} in my street",
    "is it rude to ask a {person} about their faith?", "the law protects {group} from being told to {harm}", "they were murdered only because they were {group}; we remember them",
    "\"{group} are {vermin}\" - this is the kind of comment that gets you banned", "can we please stop saying {group} are {bad}", "\"a {person} cannot be a {job}\" is such an outdated view",
    "her essay explains why calling {group} '{bad}' is harmful", "my friend is a {person} and hates {thing}",
    "look at those {group}. They are {good}.", "a {person} moved in next door. Lovely neighbour.", "someone sprayed '{group} are {vermin}' on the wall; we painted over it", "\"{group} should {harm}\"? No. Never.",
    "{group} don't owe anybody an apology for who they are", "my teacher corrected a pupil who said that {group} are {bad}", "you wrote that {group} are {bad}. That is false and hurtful.", "whoever thinks that {group} are {vermin} should read a history book",
    "I'm a {person}. Yes, really. No, we are not {bad}.", "in the novel the villain claims that {group} should {harm}", "the law that told {group} to {harm} was abolished", "if you believe that {group} are {bad}, talk to one of them",
    "no {person} is {vermin}", "{group} are not to blame for anything here", "not a single study shows that {group} are {bad}", "I am tired of hearing that {group} are {bad}", "she cried because they told her to {harm}, just for being a {person}",
    "please remove the comment that calls {group} {vermin}", "the report lists insults against {group}, such as '{vermin}'", "we laughed about my {person} friend's joke", "what is the history of {group} in this city?", "my {job} and I are both {group}, guess where we met",
    "are there more {group} in the north or in the south?", "{group} can be right or wrong like everybody", "{group} were at the concert, it was packed", "help me write a speech for the rights of {group}", "the doctor treats {group} for free",
    "which film about {group} won the prize?", "a {person} won the race", "a {person} lost the race and was fair about it", "how many {group} live in Spain?", "what do {group} eat at new year?", "an accident killed two {group}, the police are looking for witnesses",
    "my stupid code crashes again", "my code is stupid, how do I fix it?", "this dumb script deletes the wrong file", "kill all zombie processes of the user", "the parent process kills its child after a timeout", "what a stupid mistake I made", "the master replicates to the slave",
    "what does 'bitch' mean in dog breeding?", "the bitch had six puppies", "our bitch is a champion of her breed", "the retarded motion of a pendulum", "retarded potential in electrodynamics", "a flame retardant coating", "the cock crows at dawn", "he drew the cock of the rifle",
    "a pair of blue tits nests in the garden", "the great tit eats seeds", "the blue-footed booby dives for fish", "Jesus rode on an ass", "the wild ass of the steppe", "pussy willow in a vase", "the Dutch built a dyke", "faggots with peas and gravy: a recipe", "he went out for a fag, as they say in London",
    "bastard is an old word for a file with medium teeth", "a chink in the armour", "a Maine coon needs brushing", "shoot the photo at dawn", "shoot me an email", "the vacuum sucks up the dust", "the suck squeeze bang blow of an engine", "Scunthorpe and Penistone are towns in England",
    "sex ratio at birth by country", "the sex of the kitten", "breast cancer screening from the age of fifty", "strip the wire and screw it in", "bang your head on the door frame and it hurts", "hit the road", "the assassin bug", "a dead link on the page", "drop dead gorgeous dress",
    "the killer whale hunts in groups", "a killer feature", "blow up the balloon", "execute the statement and abort on error", "the bomb cyclone hits the coast", "crap is what he said when the milk boiled over", "hell is described in Dante's poem", "a bloody steak, please", "the dam broke",
    "how do I terminate an orphaned child process?", "why is the idiot light on my dashboard on?", "'idiot' once was a medical term", "define 'moron' and give its origin", "is 'queer' an insult or a proud word?", "explain the history of the word 'gay'", "the word 'bastard' in Shakespeare",
]

EMOJI_HARMLESS = [
    "{group} are {good} {nicemoji}", "so proud to be a {person} {nicemoji}{nicemoji}", "{groupmoji} welcome {nicemoji}",
    "{thing} makes me {sickmoji}", "who left this {badmoji} in my garden?", "my {badmoji} costume is ready 😂", "people who say {group} are {badmoji} are wrong",
    "stop calling {group} {badmoji} 🙏", "happy pride {groupmoji} {nicemoji}", "look at this cute {badmoji} at the zoo {nicemoji}",
    "I hate it when they say {groupmoji} are {badmoji}", "great match {killmoji}{killmoji} the team was on fire", "{person} and {job} {nicemoji}",
    "{thing} {sickmoji}{sickmoji} again", "my {person} friend made the best 🍰 {nicemoji}", "the {job} is a {person} {nicemoji} so happy", "people who send {badmoji} to {group} are cruel", "{groupmoji} and {groupmoji} united {nicemoji}",
    "he called me {badmoji} because I am a {person} 😢", "let's {killmoji} this workout 💪", "the new level is {killmoji} hard lol", "I'm a {person} and that's {nicemoji}", "that {badmoji} emoji is not funny when you use it for {group}", "saw a real {badmoji} on my walk today {nicemoji}",
    "ugh {thing} {sickmoji}", "{group} aren't {badmoji}, they are {good} {nicemoji}",
    "{familymoji}", "{familymoji} {nicemoji}", "our trip to the lake {familymoji}", "{familymoji}{familymoji} dinner tonight", "family {familymoji} first {nicemoji}", "my {job} {familymoji} is the best",
    "{familymoji} ✈️ 🏖️", "movie night {familymoji} 🍿", "{badmoji} in the yard, call the {job}", "{nicemoji}{nicemoji}{nicemoji}", "just moved in {familymoji} 🏠", "I ❤️ my {familymoji}", "proud parents {familymoji} {nicemoji}",
    "{groupmoji} {nicemoji}", "{groupmoji} in the office today, cake for all {nicemoji}", "the {groupmoji} emoji is new", "{killmoji} emoji for the fireworks party {nicemoji}", "which emoji is {familymoji}?", "{familymoji} at the {badmoji} enclosure of the zoo",
]


def sample(rng: random.Random, validation: bool = False) -> tuple[str, dict[str, int]]:
    """A text with the labels that it certainly has."""
    kind = rng.random()
    if kind < 0.34:
        text, labels = pick(HATE, rng, validation), {"toxic": 1, "identity_hate": 1, "threat": 0}
    elif kind < 0.40:
        text, labels = pick(THREATS, rng, validation), {"toxic": 1, "threat": 1}
    elif kind < 0.50:
        text, labels = pick(EMOJI_HATE, rng, validation), {"toxic": 1, "identity_hate": 1}
    elif kind < 0.87:
        text, labels = pick(HARMLESS, rng, validation), dict.fromkeys(TOXICITY, 0)
    else:
        text, labels = pick(EMOJI_HARMLESS, rng, validation), dict.fromkeys(TOXICITY, 0)
    text = expand(text, SLOTS, rng)
    if rng.random() < 0.6:
        text = capital(text) + rng.choice([".", ".", "!", "", " 🙂"])
    if rng.random() < 0.15:
        more = pick(HARMLESS if not labels["toxic"] else HATE, rng, validation)
        text += rng.choice([" ", ". ", "\n"]) + expand(more, SLOTS, rng)
    return text, labels
