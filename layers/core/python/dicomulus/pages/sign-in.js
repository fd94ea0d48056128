// Signing in at an OpenID provider: authorization code with PKCE (RFC 7636), and a new token before
// the old one ends. What is kept is kept for this tab.

const TOKEN = "dicomulus.token";
const REFRESH = "dicomulus.refresh";
const ENDS = "dicomulus.ends";
const PENDING = "dicomulus.sign-in";
const GIVEN = "dicomulus.given";

// A token that is refused as soon as this after it was given would be refused again.
const AT_ONCE_MS = 15000;

const encoded = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const random = () => encoded(crypto.getRandomValues(new Uint8Array(32)));

// Where the provider sends people back to: this page, without what stands behind its path.
const here = () => location.origin + location.pathname;

async function described({ issuer }) {
  const response = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  if (!response.ok) throw new Error(`The OpenID provider answers ${response.status}.`);
  const found = await response.json();
  if (found.issuer !== issuer) throw new Error("The description of the OpenID provider is another's.");
  return found;
}

// Gets another token than the one that the archive has refused: by the last one's leave, or by having
// people sign in. Never one after the other for ever.
export async function anotherToken(settings) {
  if (Date.now() - Number(sessionStorage.getItem(GIVEN)) < AT_ONCE_MS) {
    throw new Error("The archive does not take the token that the OpenID provider gives.");
  }
  if (!(await renew(settings))) await signIn(settings);
}

async function signIn(settings) {
  const [verifier, state] = [random(), random()];
  const { authorization_endpoint } = await described(settings);
  sessionStorage.setItem(PENDING, JSON.stringify({ verifier, state, back: location.hash }));
  const challenge = encoded(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  const address = new URL(authorization_endpoint);
  const asked = {
    response_type: "code",
    client_id: settings.clientId,
    redirect_uri: here(),
    scope: settings.scope,
    audience: settings.audience,
    state,
    code_challenge: challenge,
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
  location.assign(address);
  // The page is being left.
  return new Promise(() => {});
}

// Takes the provider's answer, if the address holds one, and goes back to where it was asked for.
export async function finishSignIn(settings) {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state")) return;
  const pending = JSON.parse(sessionStorage.getItem(PENDING));
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", here() + (pending?.back ?? ""));
  // Of another sign-in: nobody here has asked for it.
  if (pending?.state !== answer.get("state")) return;
  if ((answer.get("iss") ?? settings.issuer) !== settings.issuer) throw new Error("Another OpenID provider has answered.");
  if (!answer.has("code")) throw new Error(answer.get("error_description") || answer.get("error") || "The OpenID provider lets nobody in.");
  await redeem(settings, {
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: here(),
    code_verifier: pending.verifier,
  });
}

// Gets a new token for what the provider has given for that; tells whether it did.
async function renew(settings) {
  const token = sessionStorage.getItem(REFRESH);
  if (!token) return false;
  sessionStorage.removeItem(REFRESH);
  try {
    await redeem(settings, { grant_type: "refresh_token", refresh_token: token });
    return true;
  } catch {
    return false;
  }
}

async function redeem(settings, form) {
  const { token_endpoint } = await described(settings);
  const body = new URLSearchParams({ client_id: settings.clientId, ...form });
  const response = await fetch(token_endpoint, { method: "POST", body });
  const given = await response.json();
  if (!response.ok || !given.access_token) throw new Error(given.error_description || given.error || "The OpenID provider gives no token.");
  sessionStorage.setItem(TOKEN, given.access_token);
  sessionStorage.setItem(GIVEN, Date.now());
  if (given.refresh_token) sessionStorage.setItem(REFRESH, given.refresh_token);
  sessionStorage.setItem(ENDS, Date.now() + 1000 * (given.expires_in || 300));
}

// Renews the token when a quarter of its time is left, for as long as the page is open.
export function stayFresh(settings) {
  const left = Number(sessionStorage.getItem(ENDS)) - Date.now();
  if (!sessionStorage.getItem(REFRESH)) return;
  setTimeout(async () => {
    if (await renew(settings)) stayFresh(settings);
  }, Math.max(0, left) * 0.75);
}
