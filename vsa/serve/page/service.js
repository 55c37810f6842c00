// What the page asks of the service, and what it does to a photo before.

const SENT_BYTES = 2e6, SENT_PIXELS = 4e6; // larger photos are made smaller; networks see far less
const N_TRIES = 4, LONGEST_WAIT_S = 30;
const BUSY = [429, 503];

/** What the service says is wrong, and the cure. */
export class Problem extends Error {
  constructor(detail, cure = "", requestId = "") {
    super(detail);
    this.cure = cure;
    this.requestId = requestId;
  }
}

/** What the engine has, and what may be asked of it. */
export async function info() {
  return (await reach("v1/info")).json();
}

/** The answer to a photo with options, null for those not given; `waiting(s)` hears of a wait. */
export async function search(photo, options, signal, waiting) {
  const body = new FormData();
  body.append("photo", photo, "photo");
  for (const [name, value] of Object.entries(options)) {
    if (value !== null) body.append(name, value);
  }
  for (let left = N_TRIES - 1; ; left--) {
    try {
      return await (await reach("v1/search", {method: "POST", body, signal})).json();
    } catch (error) {
      if (!error.wait || left === 0) throw error;
      waiting(error.wait);
      await sleep(error.wait, signal);
    }
  }
}

async function reach(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service cannot be reached.", "See that it runs, and try again.");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const detail = told.detail || told.title || `The service answered ${response.status}.`;
  const problem = new Problem(detail, told.cure, told.request_id);
  if (BUSY.includes(response.status)) {
    problem.wait = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT_S);
  }
  throw problem;
}

function sleep(seconds, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    });
  });
}

/** A photo that the service takes: as it is, or a smaller JPEG of it. */
export async function fitting(file, limits) {
  const {max_bytes: bytes = SENT_BYTES, max_pixels: pixels = SENT_PIXELS} = limits;
  const picture = await createImageBitmap(file).catch(() => null); // upright
  if (picture) {
    const isSmall = file.size <= Math.min(bytes, SENT_BYTES);
    if (isSmall && picture.width * picture.height <= pixels) return file;
    return smaller(picture, Math.min(pixels, SENT_PIXELS));
  }
  if (file.size <= bytes) return file; // of a kind that only the service may know
  throw new Problem(
    `${file.name} is too large (${(file.size / 1e6).toFixed(1)} MB), and the browser cannot make ` +
    "a smaller photo of it.",
    "Give a smaller file, or a JPEG.",
  );
}

function smaller(picture, pixels) {
  const scale = Math.min(1, Math.sqrt(pixels / (picture.width * picture.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(scale * picture.width));
  canvas.height = Math.max(1, Math.floor(scale * picture.height));
  const paper = canvas.getContext("2d");
  paper.imageSmoothingQuality = "high";
  paper.fillStyle = "white"; // below what is transparent
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
}
