// Point renderer (WebGL), which draws a hundred thousand points in one call.
import { PERSPECTIVE } from "./map-camera.js";

const VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec4 colour;
uniform float depth, yaw, pitch, zoom, size, stretch;
uniform vec2 pan, scale;
out vec4 shade;
void main() {
  vec3 p = vec3(position.xy, position.z * depth);
  float turned = -p.x * sin(yaw) + p.z * cos(yaw);
  vec2 flat2 = vec2((p.x * cos(yaw) + p.z * sin(yaw)) * stretch, p.y * cos(pitch) - turned * sin(pitch));
  float near = p.y * sin(pitch) + turned * cos(pitch);
  float factor = 1.0 / (1.0 - ${PERSPECTIVE.toFixed(3)} * depth * near);
  gl_Position = vec4((flat2 * factor * zoom + pan) * scale, -near * depth * 0.3, 1.0);
  gl_PointSize = size * factor * (colour.a > 0.5 ? 1.0 : 0.75);
  shade = colour;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 shade;
out vec4 pixel;
void main() {
  float away = length(gl_PointCoord - 0.5) * 2.0;
  float cover = 1.0 - smoothstep(0.8, 1.0, away);
  if (cover < 0.02) discard;
  pixel = vec4(shade.rgb * mix(1.0, 0.78, smoothstep(0.5, 0.85, away)), 1.0) * (shade.a * cover);
}`;

export class Points {
  /** Throws an error without WebGL 2. */
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: true, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.program = link(gl);
    this.places = {};
    for (const name of ["depth", "yaw", "pitch", "zoom", "size", "stretch", "pan", "scale"]) this.places[name] = gl.getUniformLocation(this.program, name);
    [this.positions, this.colours] = [gl.createBuffer(), gl.createBuffer()];
    this.count = 0;
  }

  /** Set the positions: Float32Array (n x 3). */
  setPositions(positions) {
    this.count = positions.length / 3;
    this.#fill(this.positions, positions);
  }

  /** Set the colours: Uint8Array (n x 4); an alpha of 0 hides a point. */
  setColours(colours) {
    this.#fill(this.colours, colours);
  }

  #fill(buffer, data) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
  }

  /** Draw. size: diameter of a point in CSS pixels. */
  draw(camera, size, ratio) {
    const { gl, places, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.count) return;
    gl.useProgram(this.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (camera.depth > 0.5) gl.enable(gl.DEPTH_TEST);
    else gl.disable(gl.DEPTH_TEST);
    for (const name of ["depth", "yaw", "pitch", "zoom", "stretch"]) gl.uniform1f(places[name], camera[name]);
    gl.uniform1f(places.size, size * ratio);
    gl.uniform2f(places.pan, camera.panX, camera.panY);
    gl.uniform2f(places.scale, (2 * camera.unit) / camera.width, (2 * camera.unit) / camera.height);
    this.#attribute(0, this.positions, 3, gl.FLOAT, false);
    this.#attribute(1, this.colours, 4, gl.UNSIGNED_BYTE, true);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }

  #attribute(place, buffer, size, type, normalised) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, normalised, 0, 0);
  }
}

function link(gl) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}
