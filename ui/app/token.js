// token.js - a token that comes with the address.
//
// It is in the fragment (#token=... or #/route?token=...), which browsers send to nobody, and is taken
// out at once, so that it is in no history and no screenshot. dialogs.js asks for one otherwise.
import { isToken, setToken } from './api.js';

// A "+" is a character of tokens here, and not a blank.
const parametersOf = (text) => new URLSearchParams(text.replaceAll('+', '%2B'));

// Whether there was one.
export function takeTokenFromAddress() {
  const [route, parameters = ''] = location.hash.slice(1).split(/\?(.*)/s);
  const bare = parametersOf(route.startsWith('token=') ? route : '');
  const query = parametersOf(parameters);
  const token = bare.get('token') ?? query.get('token');
  if (token === null) return false;
  query.delete('token');
  const rest = bare.has('token') ? '/' : route;
  history.replaceState(null, '', `${location.pathname}${location.search}#${rest}${query.size > 0 ? `?${query}` : ''}`);
  if (isToken(token)) setToken(token, false);
  return true;
}
