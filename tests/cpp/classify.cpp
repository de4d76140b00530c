// Scores of raw signals, from a frozen graph that prepares them itself: no Python, no psdbatch.
//
//   classify MODEL.pb SIGNALS.bin SAMPLES [OUTPUT]
//
// SIGNALS.bin holds int16 ADC values, SAMPLES for each signal, one signal after another, in the byte order of this machine.
// Prints one line of scores for each signal.  OUTPUT is the name of the output, by default "output_layer".

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/public/session.h"

namespace tf = tensorflow;

constexpr std::int64_t kBatch = 4096;

// TensorFlow has called the class of a status by several names.
template <typename Status>
void check(const Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "classify: %s\n", status.ToString().c_str());
    std::exit(1);
  }
}

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: classify MODEL.pb SIGNALS.bin SAMPLES [OUTPUT]\n");
    return 2;
  }
  const std::int64_t samples = std::atoll(argv[3]);
  const std::string output = argc > 4 ? argv[4] : "output_layer";
  std::ifstream file(argv[2], std::ios::binary);
  if (!file || samples <= 0) {
    std::fprintf(stderr, "classify: %s cannot be read as signals of %s samples\n", argv[2], argv[3]);
    return 1;
  }

  tf::GraphDef graph;
  check(tf::ReadBinaryProto(tf::Env::Default(), argv[1], &graph));
  std::unique_ptr<tf::Session> session(tf::NewSession(tf::SessionOptions()));
  check(session->Create(graph));

  std::vector<std::int16_t> raw(kBatch * samples);
  while (file) {
    file.read(reinterpret_cast<char*>(raw.data()), raw.size() * sizeof(std::int16_t));
    const std::int64_t count = file.gcount() / (samples * sizeof(std::int16_t));
    if (file.gcount() % (samples * sizeof(std::int16_t)) != 0) {
      std::fprintf(stderr, "classify: %s ends within a signal\n", argv[2]);
      return 1;
    }
    if (count == 0) break;
    tf::Tensor signals(tf::DT_INT16, tf::TensorShape({count, samples}));
    std::copy_n(raw.begin(), count * samples, signals.flat<std::int16_t>().data());
    std::vector<tf::Tensor> answers;
    check(session->Run({{"signal", signals}}, {output}, {}, &answers));
    const auto scores = answers[0].flat_inner_dims<float>();
    for (std::int64_t row = 0; row < scores.dimension(0); ++row) {
      for (std::int64_t column = 0; column < scores.dimension(1); ++column) {
        std::printf(column ? " %.9g" : "%.9g", scores(row, column));
      }
      std::printf("\n");
    }
  }
  return 0;
}
