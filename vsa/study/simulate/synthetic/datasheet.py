"""The datasheet of the synthetic shop, rendered in notebook 01."""

DATASHEET = """\
### What it is
A shop that never existed, drawn by a program: 14 categories with the names that the paper uses,
66 kinds of things (the `leaf` column, four to six per category), products with several catalogue
pictures each, and three shoppers' photos ("queries") per product. It exists so that the whole
system runs with no network and every claim can be judged: here, and only here, every box, every
identity and every duplicate is known.

### How a product is made
- **Silhouette.** A leaf is a handful of polygons, curves and strokes whose proportions vary
  continuously, so neighbouring kinds overlap: strap dresses and slips, shorts and boxers,
  lotion bottles and drinks, biscuit boxes, cartons, books and loudspeakers.
- **Colours.** Three per product, from one pool of 26 that all categories share.
- **Pattern and label.** Plain, stripes, dots, checks, gradient or flowers, with a scale and an
  angle; one of eight label glyphs or none.
- **Families.** Products come in families of up to eight that share leaf, base proportions and
  pattern and differ in one or a few fine things: a colour, the scale or angle of the pattern, a
  part, the label. Finding *the identical* product means telling siblings apart.

### The pictures
- `main`: front view on a light background. `sku`: turned, mirrored, seen from the side, at times
  with colour swatches. `review`: a shopper's photo, milder than a query.
- **Listings.** Other sellers re-upload the main picture: cropped, resized, framed, stamped,
  re-encoded, or (15 %) byte for byte. The number n of further listings has P(n) ∝ 1/(n+1)²,
  cut at 12: about one on average, a dozen at times. Re-uploads share the `product_id`.
- **Queries.** Textured clutter (wood, tiles, cloth, room, shelf, speckle), up to three other
  products around, random place and scale (the box covers roughly 12 to 70 % of the
  picture, a little under half in the median), rotation, perspective, a hand or a strip over at
  most a quarter of the object, uneven light, colour temperature, shadows, blur, noise, JPEG.
- **Redrawn photos.** For its regimes, the study draws the test photos once more, from the same
  random numbers, with an object that covers 10 to 90 % of the picture.
- **Boxes** are the tight bounds of the object's alpha mask after all transformations and before
  occlusion, cut at the picture's edge.
- **Quality signals.** Sales (log-normal), conversion rate, applause rate and price come from a
  hidden quality per product and seller. Nothing in a picture tells it.
- **Splits** are by product, 60/15/25, within each category. Siblings may lie in different splits.

### What sets the difficulty
Number of products, size of families, strength of clutter, light, blur and noise, range of scale,
share of occlusion, law of the listings: constants at the top of `shop.py`, `photos.py`,
`degrade.py` and `families.py` in `vsa/study/simulate/synthetic`. They were set by looking at the
pictures and at two kinds of numbers only: the accuracy of a small category classifier after a short
training, which should be neither hopeless nor perfect, and Recall@1 of generic features (colour
histogram with thumbnail; an ImageNet network), which should be above chance and well below one
half. There were four rounds of measuring; the photos were made easier after the first and after the
second. The small classifier still ended below the band that was aimed at. The last change of the
pictures (a slightly wider range of box sizes, and a fault at the picture's edge mended) came after
the last round. Then the network and the number of steps of the short profiles were chosen, on these
pictures, by the validation accuracy of the classifier alone. Trial runs of notebook 02 at `smoke`,
with a network that had hardly learned anything, were seen meanwhile; nothing was changed after them
for the sake of a comparison.

### What a sceptic should distrust
- **It is a drawing.** A few dozen silhouettes, flat materials, one light model, no real texture,
  no bodies, no depth. A network sees far less variety than any shop has; absolute numbers do
  not carry over to photographs, and even the order of two methods may not. Look at the results
  on real photos too.
- **The categories were drawn by the authors of this code**, who decided how alike they look.
  "Others" is five tidy things, not the rag-bag that a real shop has.
- **Colour and pattern statistics are unlike real shops.** Trousers with flowers are as common as
  plain ones, and colour is independent of category by design.
- **Clutter is procedural** and independent of the product. Real backgrounds give hints, and real
  distractors come in sets.
- **Studio and real shots come from the same sprite**, seen flat. A true change of viewpoint shows
  other sides; here it is a perspective warp.
- **Duplicates follow a chosen law**, so whatever removing them saves was, in part, put there.
- **Identity is perfect and fine.** Siblings are always different products, however alike; real
  labels are noisier, and two unrelated plain products can look the same here by chance.
- **Siblings across splits** make test products less novel than in a shop that changes every day.
- **Quality signals are independent of appearance** and share one hidden cause: a re-ranker can
  find that cause because we put it there.
- **Generic features trained on photographs** are at a disadvantage on drawings, so a gain over
  them is easier here than on photos.
"""
