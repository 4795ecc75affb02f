#include "runtime/data/dataset.h"

#include "kernels/base/error.h"
#include "runtime/data/byte_corpus.h"
#include "runtime/data/recall_task.h"

namespace annulus::runtime {

std::unique_ptr<Dataset> OpenDataset(const DatasetConfig& config) {
  if (config.path.empty() && config.synthetic.empty()) {
    ThrowConfigError(
        "nothing to train on: set data.path to a text, or data.synthetic to a task (recall)");
  }
  if (!config.path.empty() && !config.synthetic.empty()) {
    ThrowConfigError("data.path ('{}') and data.synthetic ('{}') are both set: set one of them",
                     config.path, config.synthetic);
  }
  if (!config.path.empty()) {
    return std::make_unique<ByteCorpus>(
        ByteCorpus::Config{.path = config.path,
                           .held_out_fraction = config.held_out_fraction,
                           .separate_documents = config.separate_documents,
                           .seed = config.seed});
  }
  if (config.synthetic == "recall") {
    return std::make_unique<RecallTask>(config.vocab_size, config.seed);
  }
  ThrowConfigError("data.synthetic: there is no task '{}'; known: recall", config.synthetic);
}

}  // namespace annulus::runtime
