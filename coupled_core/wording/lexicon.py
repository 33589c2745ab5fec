"""English nouns, verbs and adjectives of pictures, as far as the rules are sure of them.

No model and no part-of-speech tagger: what stands in no list is not guessed at.
"""

from coupled_core.wording.words import word_set

LANDSCAPES = word_set(
    """
    meadow meadows beach beaches desert deserts field fields snowfield snowfields wheatfield
    cornfield battlefield airfield forest forests wood woods woodland jungle lake lakes city cities
    town towns village villages mountain mountains mountainside valley valleys hill hills hillside
    hilltop foothills river rivers riverbank riverside stream brook waterfall waterfalls sea seas
    seaside ocean oceans shore shores shoreline coast coastline island islands cliff cliffs
    clifftop cave caves canyon glacier iceberg savanna savannah prairie swamp marsh marshes dune
    dunes pond ponds garden gardens park parks street streets road roads roadside alley alleys
    alleyway alleyways avenue boulevard lane highway freeway motorway square plaza piazza market
    marketplace bazaar harbor harbour port marina playground courtyard yard backyard farmyard
    barnyard schoolyard churchyard junkyard vineyard shipyard graveyard cemetery orchard farm
    farmland farmstead countryside wilderness outback landscape skyline horizon background snow
    sand grass clearing glade path pathway trail footpath arena stadium ruins pasture pastures
    paddock ranch plantation grove rainforest thicket lawn oasis plateau plain plains ridge summit
    peak slope slopes crater volcano cavern grotto gorge ravine tundra steppe moor moorland bog
    wetland wetlands bay gulf lagoon creek canal reef fjord seabed riverbed pool waterfront quay
    quayside wharf jetty pier dock docks boardwalk promenade crossing crosswalk intersection
    crossroads sidewalk pavement driveway parkway suburb suburbs downtown neighborhood
    neighbourhood metropolis slum bayou heath hedgerow rapids estuary delta peninsula cape
    archipelago atoll rink racetrack racecourse runway airstrip railway track tracks underpass
    overpass tunnel mine quarry campsite campground camp fairground zoo circus carnival festival
    space moon planet orbit galaxy nebula universe world underwater snowbank snowdrift puddle mud
    water waters surf waves court pitch ring rodeo lot corner curb roundabout cul-de-sac patio
    terrace lawns ditch gully basin meander shallows depths wasteland badlands dreamscape
    cityscape seascape townscape dirt gravel dam reservoir maze labyrinth moat sandbox undergrowth
    underbrush treetops bank banks paddy stop junction outpost settlement colony spaceport helipad
    viaduct aqueduct
    """
)
BUILDINGS = word_set(
    """
    bridge footbridge lighthouse windmill watermill tower skyscraper skyscrapers fortress fort
    castle palace monastery abbey chapel church cathedral mosque synagogue pagoda temple shrine
    house farmhouse townhouse cottage cabin hut villa mansion barn stable shed greenhouse garage
    station airport terminal rooftop rooftops roof roofs building buildings apartment apartments
    hangar warehouse factory laboratory lab hospital clinic school schoolhouse university campus
    shop store bookstore bookshop bakery pharmacy supermarket grocery mall diner cafe café
    restaurant bistro bar pub tavern inn hotel motel nightclub club cinema theater theatre opera
    museum gallery library archive bank courthouse prison jail dungeon crypt tomb pyramid pyramids
    observatory aquarium gym studio workshop smithy forge mill brewery winery spaceship submarine
    train subway metro bus tram ferry yacht spacecraft airplane aeroplane arcade treehouse kiosk
    stall booth lodge chalet bungalow igloo tent amphitheatre amphitheater colosseum drawbridge dojo
    bathhouse teahouse boathouse courthouse penthouse cloister sanctuary mausoleum silo granary
    henhouse kennel firehouse
    """
)
INTERIORS = word_set(
    """
    room rooms bedroom bathroom kitchen office study lounge lobby parlor parlour hall hallway
    corridor stairwell staircase stairs attic basement cellar nursery classroom courtroom ballroom
    ward chamber laundromat locker cockpit galley den closet pantry porch veranda balcony
    doorway entrance foyer conservatory throne-room showroom boardroom playroom bunker vault stage
    auditorium gymnasium cafeteria canteen salon barbershop spa sauna interior inside
    crypt morgue cell workroom darkroom storeroom nave catacombs
    """
)
PLACES = LANDSCAPES | BUILDINGS | INTERIORS
SURFACES = word_set(
    """
    table tables tabletop desk desks workbench bench benches counter countertop countertops sofa
    couch bed beds chair armchair stool ottoman shelf shelves bookshelf rug carpet mat floor
    floorboards ground windowsill sill ledge window windows wall walls fence gate hedge tree trees
    branch branches leaf log stump rock rocks boulder boulders stone stones fireplace hearth stove
    oven fridge refrigerator dresser nightstand cabinet cupboard wardrobe mantel mantelpiece
    pedestal plinth platform podium tray plate board door doorstep
    step steps railing bookcase sideboard piano blackboard chalkboard lamppost streetlamp column
    pillar arch well haystack bonfire campfire fountain statue flower flowers bush bushes
    sunflowers hammock deck pot pan tablecloth altar
    throne reed doormat beam rafters ceiling roots
    """
)
"""Things that something stands on, at or beside: part of a scene where every prompt has them."""
ENTERED = word_set(
    "tree trees chair armchair bed hammock fountain bush bushes flowers hedge window doorway step"
)
"""Those among them that something may be in without being hidden."""
SCENERY = word_set(
    """
    grass grasses trees palms oaks pines firs birches bamboo cacti cactus bushes shrubs ferns
    moss ivy vines reeds wildflowers flowers sunflowers poppies tulips blossoms lavender leaves
    foliage rocks boulders stones pebbles cliffs hills mountains dunes clouds buildings
    skyscrapers houses windows walls columns pillars arches lights lanterns lamps candles
    streetlights streetlamps billboards signs neon fireworks bookshelves shelves tiles bricks
    bookcases curtains furniture waves icicles snowflakes raindrops puddles reflections petals
    graffiti banners flags umbrellas awnings chairs tables benches boats ships cars
    canopy crops wheat corn hay autumn skyscraper towers ruins steam dust smoke
    """
)
TIMES = word_set(
    """
    noon midday dawn daybreak sunrise dusk sunset twilight night nighttime nightfall midnight
    daytime christmas halloween
    """
)
LIGHTS = TIMES | word_set(
    """
    day daylight morning afternoon evening sky skies sun sunlight sunshine moonlight starlight
    candlelight lamplight firelight stars moon glow light lights rain drizzle fog mist haze storm
    thunderstorm snowstorm blizzard snowfall clouds cloud shade shadow shadows darkness dark summer
    autumn fall winter spring january february march april may june july august september october
    november december weather breeze wind spotlight spotlights lanterns rainbow lightning aurora
    tide hour sunbeams rays heat frost smoke dust overcast sandstorm hailstorm downpour christmas
    halloween
    """
)
STYLES = word_set(
    """
    photorealistic photorealism photography photograph photo realistic hyperrealistic cinematic 4k
    8k uhd hdr bokeh lighting backlighting exposure focus detailed detail sharp grain minimalist
    dreamlike surreal moody atmosphere ambience shadows reflections art painting illustration
    render watercolor quality
    """
)
SCENE_WORDS = PLACES | LIGHTS
POSITIONS = word_set(
    "left right center centre middle foreground background top bottom side front edge distance"
)
WEARABLES = word_set(
    """
    suit suits tuxedo dress gown kimono robe cloak cape coat overcoat trenchcoat raincoat jacket
    shirt t-shirt sweater hoodie cardigan vest blouse skirt jeans pants trousers shorts uniform
    armor armour apron costume outfit pajamas pyjamas bathrobe swimsuit wetsuit spacesuit hat cap
    helmet crown tiara headband bandana beret turban scarf tie bowtie necktie glasses sunglasses
    goggles mask gloves mittens boots shoes sandals sneakers collar backpack bag satchel necklace
    earrings beard moustache mustache hair braids ponytail bun eyes wings tail horns antlers fur
    feathers spots stripes mane veil sweatshirt jumper overalls tunic toga sari poncho leash harness
    saddle bell ribbon
    """
)
"""What somebody wears or has on the body: it belongs to the entity, never to the scene."""
CONTAINERS = word_set(
    """
    bowl cup glass mug vase plate bottle jar basket box bag bucket pot jug pitcher pile stack bunch
    bouquet group herd flock pack pair slice piece loaf row crowd family team school swarm bundle
    tray can tin jug pint bar block sheet
    """
)
"""Nouns that are followed by "of" and what they hold or are made of."""
BEINGS = word_set(
    """
    man woman boy girl child kid person baby toddler teenager couple people children men women boys
    girls kids musician dancer singer chef cook waiter waitress barista baker butcher farmer
    gardener painter artist writer student teacher scientist doctor nurse soldier sailor pirate
    knight king queen prince princess wizard witch monk nun priest samurai ninja astronaut pilot
    policeman policewoman firefighter fisherman hunter hiker climber cyclist runner jogger skier
    surfer swimmer clown magician juggler acrobat robot android cyborg alien dog dogs cat cats
    puppy kitten bird birds horse horses pony donkey cow cows goat goats sheep pig rabbit fox bear
    wolf lion tiger elephant monkey chimpanzee gorilla panda koala kangaroo squirrel raccoon
    hedgehog mouse rat otter beaver penguin duck swan goose eagle owl parrot crow raven cowboy
    blacksmith carpenter lady gentleman grandmother grandfather tourist guard mermaid elf dwarf
    fairy skeleton snowman
    """
)
IRREGULAR_PLURALS = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse",
    "geese": "goose", "wolves": "wolf", "sheep": "sheep", "deer": "deer", "fish": "fish",
    "policemen": "policeman", "fishermen": "fisherman", "firemen": "fireman", "snowmen": "snowman",
    "oxen": "ox", "knives": "knife", "leaves": "leaf", "loaves": "loaf", "calves": "calf",
    "cacti": "cactus", "fungi": "fungus", "elves": "elf", "dwarves": "dwarf", "bison": "bison",
    "moose": "moose", "shelves": "shelf", "samurai": "samurai", "dice": "die",
}  # fmt: skip
SINGULARS_IN_S = word_set(
    "lens gas bus cactus canvas compass octopus walrus hippopotamus thermos atlas christmas"
)
NOUNS_BEFORE_NOUNS_IN_S = word_set("sports news sales arts goods christmas glass brass grass")
"""Words in -s that stand before a noun of one thing: "a sports car"."""
NOUNS_IN_ING = word_set(
    """
    king ring wing string spring building painting ceiling wedding sibling duckling gosling
    starling pudding earring clothing swing sling thing evening morning drawing carving dumpling
    awning railing sapling herring viking being offering gathering
    stocking darling fledgling nestling yearling lightning lighting lettering bedding
    """
)
COLOURS = word_set(
    """
    red orange yellow green blue purple white black pink brown gray grey gold golden silver
    violet turquoise crimson scarlet beige teal magenta maroon navy cyan lavender bronze
    """
)
ALIKE = (
    COLOURS,
    word_set("small large big tiny huge giant little enormous massive"),
    word_set("old young new ancient modern"),
    word_set("tall short"), word_set("wet dry"), word_set("open closed"), word_set("empty full"),
    word_set("clean dirty dusty muddy"), word_set("ripe rotten"), word_set("hot cold"),
    word_set("happy sad angry"), word_set("striped spotted plain"), word_set("round square oval"),
    word_set("fat thin"), word_set("long short"), word_set("rusty shiny"), word_set("bright dark"),
    word_set("lit unlit"), word_set("blooming wilted"), word_set("broken cracked polished"),
)  # fmt: skip
"""Adjectives that exclude each other: "make it blue instead of red" says all that changes."""
ADJECTIVES = COLOURS | word_set(
    """
    small large big tiny huge giant old young elderly new ancient modern tall short long
    majestic fluffy striped spotted wooden metal shiny rusty wild happy sad angry sleepy wet
    dry broken open closed bright dark pale light little enormous fat thin round cute beautiful
    elegant colorful colourful empty full clean dirty ripe rotten fresh cracked stone glass
    plastic golden furry hairy bald muscular slim skinny chubby plump lean strong weak
    giant gigantic miniature massive heavy ornate plain simple fancy rustic vintage antique retro
    futuristic medieval abandoned lone lonely single solitary friendly fierce ferocious scary
    spooky cheerful gloomy grumpy playful curious brave proud calm quiet loud noisy busy lazy
    tired hungry fast slow quick steep flat smooth rough soft hard sharp blunt hot cold warm cool
    frozen snowy icy muddy dusty sandy sunny rainy foggy misty cloudy stormy windy dim sleek
    lovely pretty handsome ugly gorgeous stunning fabulous magnificent graceful noble royal
    wise silly funny strange weird mysterious magical mystical enchanted haunted sacred holy
    poor rich famous lush marble barren bare thick dense deep shallow wide narrow high low tattered
    worn torn polished painted carved blooming wilted burning lit unlit melting glowing
    sparkling translucent transparent square oval triangular rectangular curly straight blonde
    blond brunette pregnant dead alive sick healthy injured wounded armed
    """
)
NOUNS_TOO = word_set(
    """
    orange gold silver metal light giant square violet glass stone lavender bronze adult wild
    plastic spring marble miniature antique dark cold oval navy teal
    """
)
"""Adjectives that may also be a noun, as in "an orange"."""
PREDICATIVE = word_set("asleep awake alone afloat ablaze alight adrift upright")
"""Adjectives that stand behind their noun."""
VERBS = word_set(
    """
    stand sit run walk fly soar float drift rise hover rest grow sprout flutter wait crawl drive
    sleep jump leap swim dance sing play eat drink look stare gaze lie perch climb ride hunt roar
    bark chase gallop stroll march kneel lean read write work glide swoop dive land stretch shine
    burn bloom roll pass move slide sail hang nap snooze doze trot hop skip skate ski surf paddle
    row fish bathe wade splash bounce spin twirl balance bow smile laugh grin frown cry yawn shout
    scream whistle howl growl purr meow graze browse nibble chew lick sniff dig forage scurry
    wander roam prowl stalk creep sneak crouch squat lounge relax meditate pray pose juggle
    perform cook bake stir pour sweep clean wash paint draw sketch sculpt carve knit sew weave
    hold carry wear push pull throw catch kick hit swing lift drag hug kiss feed milk water pick
    gather harvest plant build repair fix hammer type study think dream watch guard patrol fight
    fence shoot aim wield train exercise jog sprint race cycle skateboard snowboard kayak canoe
    camp hike trek explore travel cruise speed park idle blow flow drip melt glow flicker blaze
    smoke smolder steam bubble boil swirl rotate open close wave point clap strum drum dangle
    swing sway bend curl howl rear buck snore blink vacuum serve sell buy deliver talk chat read
    listen text photograph film record lay sunbathe munch sip taste conduct direct strut preen mend
    peck circle pedal sprint hurry copy count peel knock tumble flip rattle parade examine hide
    peer glance chirp neigh hiss salute plunge wilt glitter gleam sparkle shimmer pet tend mow rake
    shovel chop slice grill roast fry inspect measure polish tune practice rehearse teach pray chant
    recline cross take use steal
    """
)
LOOKING = word_set(
    "look stare gaze point wave aim shoot bark howl shout smile laugh scream growl talk listen"
    " swoop throw jump leap climb hop skip"
)
"""Verbs whose "at", "to" or "over" leads to their object, not to where they are."""
STATES = word_set(
    """
    parked perched seated dressed curled tied chained mounted stacked piled placed displayed
    pitched folded wrapped hidden trapped moored anchored docked suspended buried decorated lit
    """
)
"""Participles of the past that say how something is, not what it once did."""
IRREGULAR_FORMS = word_set(
    """
    ran flew sang swam hung slept lay sat stood ate drank drove rode wrote woke held kept left
    lost made bent built caught shot thrown driven ridden seen worn torn woven lit set cut put hit
    fell grew knew took gave went came became began blew drew spun strung stuck struck
    """
)
MEDIA = word_set(
    """
    picture image photo photograph painting drawing sketch illustration render rendering portrait
    shot view scene watercolor watercolour close-up closeup snapshot poster print mural mosaic
    sculpture statue figurine screenshot polaroid diagram cartoon comic icon logo selfie
    rendition depiction graphic wallpaper banner collage composition clipart clip video film
    footage panorama vignette
    """
)
SCENE_PARTICIPLES = word_set(
    """
    bathed surrounded lit illuminated covered overgrown lined filled flooded dotted adorned
    decorated drenched shrouded blanketed carpeted
    """
)
"""Participles that describe a scene, followed by what they describe it with."""
