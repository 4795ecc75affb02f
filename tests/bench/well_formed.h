// Whether text is XML, and what is in it.
#pragma once

#include <boost/property_tree/xml_parser.hpp>
#include <sstream>
#include <string>

namespace annulus::runtime {

using Xml = boost::property_tree::ptree;

// Throws where `text` is not well-formed.
inline Xml ParseXml(const std::string& text) {
  std::istringstream stream(text);
  Xml xml;
  boost::property_tree::read_xml(stream, xml);
  return xml;
}

inline size_t CountTags(const Xml& xml, const std::string& tag) {
  size_t count = 0;
  for (const auto& [name, child] : xml) count += (name == tag ? 1 : 0) + CountTags(child, tag);
  return count;
}

}  // namespace annulus::runtime
